//! The claims that are looked at, by name.

use crate::json::{LOOKS, look};

/// A claim that is looked at.
#[derive(Clone, Copy)]
pub(in crate::jwt) enum Claim {
    Issuer,
    Subject,
    TokenId,
    ClientId,
    AuthorizedParty,
    TokenUse,
    Email,
    Username,
    CognitoUsername,
    Audience,
    Scope,
    /// What Okta and Entra ID call the scope.
    Scp,
    Groups,
    Confirmation,
    // Those of which the text does not matter.
    Expiry,
    NotBefore,
    IssuedAt,
}

/// What a claim may be.
#[derive(Clone, Copy)]
pub(super) enum Class {
    Text,
    /// One string, or an array of them.
    Texts,
    Date,
    Other,
}

impl Claim {
    pub(super) const ALL: [Self; 17] = [
        Self::Issuer,
        Self::Subject,
        Self::TokenId,
        Self::ClientId,
        Self::AuthorizedParty,
        Self::TokenUse,
        Self::Email,
        Self::Username,
        Self::CognitoUsername,
        Self::Audience,
        Self::Scope,
        Self::Scp,
        Self::Groups,
        Self::Confirmation,
        Self::Expiry,
        Self::NotBefore,
        Self::IssuedAt,
    ];

    /// How many have a text that matters.
    pub(super) const TEXTS: usize = Self::Expiry as usize;

    /// The claim of that name. `groups_claim` is the one that holds the groups.
    pub(super) fn of(name: &[u8], groups_claim: &str) -> Option<Self> {
        let groups = || (name == groups_claim.as_bytes()).then_some(Self::Groups);
        BY_LOOK[look(name)]
            .filter(|claim| claim.name().as_bytes() == name)
            .or_else(groups)
    }

    pub(super) const fn name(self) -> &'static str {
        NAMES[self as usize]
    }

    pub(super) const fn class(self) -> Class {
        match self {
            Self::Audience | Self::Scope | Self::Scp | Self::Groups => Class::Texts,
            Self::Confirmation => Class::Other,
            Self::Expiry | Self::NotBefore | Self::IssuedAt => Class::Date,
            _ => Class::Text,
        }
    }

    /// Whether `null` says as little as nothing: of what is only shown.
    pub(super) const fn may_be_null(self) -> bool {
        matches!(
            self,
            Self::Email | Self::Username | Self::CognitoUsername | Self::Groups
        )
    }
}

impl From<Claim> for u8 {
    fn from(claim: Claim) -> Self {
        claim as Self
    }
}

/// In the order of [`Claim::ALL`]. The claim of the groups has this name unless the application
/// says another.
const NAMES: [&str; Claim::ALL.len()] = [
    "iss",
    "sub",
    "jti",
    "client_id",
    "azp",
    "token_use",
    "email",
    "username",
    "cognito:username",
    "aud",
    "scope",
    "scp",
    "groups",
    "cnf",
    "exp",
    "nbf",
    "iat",
];

/// The claims by what is quickly seen of their names, the one of the groups aside: the application
/// says how that is called.
static BY_LOOK: [Option<Claim>; LOOKS] = {
    let mut by_look = [None; LOOKS];
    let mut index = 0;
    while index < Claim::ALL.len() {
        let claim = Claim::ALL[index];
        assert!(claim as usize == index, "in order");
        if !matches!(claim, Claim::Groups) {
            let slot = &mut by_look[look(claim.name().as_bytes())];
            assert!(slot.is_none(), "no two look alike");
            *slot = Some(claim);
        }
        index += 1;
    }
    by_look
};

//! What a handler demands of claims that are verified already.

use super::claims::Claims;
use super::error::VerifyError;
use super::profile::Profile;

/// Demands of one route or handler, on top of what the verifier demands of every token.
///
/// The error is a 403 that names the scopes (RFC 6750 §3.1), and turns into a
/// [`Rejection`](crate::bearer::Rejection) with `?`:
///
/// ```
/// use midil_auth::bearer::Rejection;
/// use midil_auth::Claims;
///
/// fn cancel_order(by: &Claims) -> Result<(), Rejection> {
///     by.require_scope("orders/write")?;
///     by.require_any_group(["support", "admin"])?;
///     Ok(())
/// }
///
/// # #[cfg(feature = "testing")] {
/// let ada = midil_auth::testing::claims(&serde_json::json!({
///     "scope": "orders/read orders/write", "groups": ["admin"],
/// }));
/// assert!(cancel_order(&ada).is_ok());
/// let bob = midil_auth::testing::claims(&serde_json::json!({"scope": "orders/read"}));
/// assert_eq!(cancel_order(&bob).unwrap_err().status(), 403);
/// # }
/// ```
impl<P: Profile, C> Claims<P, C> {
    /// That `scope` was granted.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Scope`].
    pub fn require_scope(&self, scope: &str) -> Result<(), VerifyError> {
        self.require_any_scope([scope])
    }

    /// That one of `scopes` was granted.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Scope`].
    pub fn require_any_scope<S: AsRef<str>>(
        &self,
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<(), VerifyError> {
        let mut demanded = String::new();
        for scope in scopes {
            let scope = scope.as_ref();
            if self.has_scope(scope) {
                return Ok(());
            }
            if !demanded.is_empty() {
                demanded.push(' ');
            }
            demanded.push_str(scope);
        }
        Err(VerifyError::Scope(demanded.into()))
    }

    /// That the bearer is in `group`.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Group`].
    pub fn require_group(&self, group: &str) -> Result<(), VerifyError> {
        self.require_any_group([group])
    }

    /// That the bearer is in one of `groups`.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Group`].
    pub fn require_any_group<S: AsRef<str>>(
        &self,
        groups: impl IntoIterator<Item = S>,
    ) -> Result<(), VerifyError> {
        let mut groups = groups.into_iter();
        if groups.any(|group| self.has_group(group.as_ref())) {
            return Ok(());
        }
        Err(VerifyError::Group)
    }
}

//! Every "Defaults to …" is in the table, and every number there is what the code does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use midil_auth::jwks::{KeySetLimits, RotationPolicy};
use midil_auth::jwt::{JwsRules, Verifier};
use midil_auth::oauth2::LifetimePolicy;
use midil_auth::{Auth, RefreshPolicy, Start};

use super::{GUIDE, README, plain, rows, sources};

fn table() -> BTreeMap<&'static str, &'static str> {
    let rows = rows(GUIDE, "Defaults").into_iter();
    let rows = rows.filter(|row| row[0] != "setting");
    rows.map(|row| (row[0], row[1])).collect()
}

#[test]
fn every_default_that_is_documented_is_in_the_table() {
    let mut documented = BTreeMap::new();
    for (path, source) in sources() {
        let (mut owner, mut docs) = (String::new(), String::new());
        for line in source.lines() {
            if line.starts_with("impl") {
                owner = owner_of(line);
            }
            let line = line.trim();
            if let Some(doc) = line.strip_prefix("///") {
                docs.push_str(doc);
                continue;
            }
            let item = line
                .strip_prefix("pub const fn ")
                .or(line.strip_prefix("pub fn "));
            if let (Some(item), Some((_, default))) = (item, docs.split_once("Defaults to ")) {
                let name = item.split(['(', '<']).next().unwrap_or_default();
                // Two types have this name.
                let prefix = match (owner.as_str(), path.ends_with("cognito.rs")) {
                    ("ClientCredentials", true) => "cognito::",
                    ("ClientCredentials", false) => "oauth2::",
                    _ => "",
                };
                documented.insert(format!("{prefix}{owner}::{name}"), unlinked(default));
            }
            if !line.starts_with("#[") {
                docs.clear();
            }
        }
    }
    let table = table();
    let names: BTreeSet<_> = documented.keys().map(String::as_str).collect();
    assert_eq!(table.keys().copied().collect::<BTreeSet<_>>(), names);
    for (name, default) in &documented {
        let listed = table[name.as_str()];
        let rest = default
            .strip_prefix(listed)
            .or(default.strip_prefix(&format!("`{listed}`")));
        let whole = rest.is_some_and(|rest| rest.starts_with(['.', ',', ':']) || rest.is_empty());
        assert!(
            whole,
            "{name}: the table says {listed:?}, its docs {default:?}"
        );
    }
}

/// The type of an `impl` block.
fn owner_of(line: &str) -> String {
    let mut depth = 0_u32;
    let bare: String = line
        .chars()
        .filter(|c| {
            depth = match c {
                '<' => depth + 1,
                '>' => depth.saturating_sub(1),
                _ => depth,
            };
            depth == 0 && *c != '>'
        })
        .collect();
    let bare = bare.trim_end_matches('{').trim();
    bare.rsplit(' ').next().unwrap_or_default().to_owned()
}

/// Markdown without its links.
fn unlinked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        let (name, after) = after.split_once("`]").unwrap_or((after, ""));
        out.push_str(&format!("{before}`{name}`"));
        rest = match after
            .strip_prefix('(')
            .and_then(|target| target.split_once(')'))
        {
            Some((_, after)) => after,
            None => after,
        };
    }
    out + rest
}

fn number(text: &str) -> usize {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let number: usize = number.replace(',', "").parse().expect(text);
    number * if unit == "KiB" { 1024 } else { 1 }
}

fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_once(' ').expect(text);
    let unit = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        _ => 24 * 3600,
    };
    Duration::from_secs(number.parse::<u64>().expect(text) * unit)
}

/// What is set to the value of the table does not change.
#[test]
fn every_number_in_the_table_is_the_default() {
    let table = table();
    let mut checked = BTreeSet::new();
    let mut of = |name: &'static str| {
        checked.insert(name);
        table[name]
    };

    let policy = LifetimePolicy::default();
    let share = of("LifetimePolicy::refresh_at").parse().expect("a share");
    assert_eq!(policy.refresh_at(share), policy);
    assert_eq!(
        policy.margin(duration(of("LifetimePolicy::margin"))),
        policy
    );
    let lifetime = duration(of("LifetimePolicy::default_lifetime"));
    assert_eq!(policy.default_lifetime(lifetime), policy);
    let lifetime = duration(of("LifetimePolicy::max_lifetime"));
    assert_eq!(policy.max_lifetime(lifetime), policy);

    let kinds = [RefreshPolicy::for_tokens(), RefreshPolicy::for_keys()];
    let both = |cell: &str| {
        let (tokens, keys) = cell.split_once(" for tokens, ").expect("both kinds");
        let keys = keys.strip_suffix(" for keys").expect("keys");
        [duration(tokens), duration(keys)]
    };
    let pair = |cell: &str| {
        let (least, most) = cell.split_once(" and ").expect("two");
        (duration(least), duration(most))
    };
    let timeouts = both(of("RefreshPolicy::fetch_timeout"));
    let floors = both(of("RefreshPolicy::demand_floor"));
    let interval = duration(of("RefreshPolicy::min_interval"));
    let retry = pair(of("RefreshPolicy::retry"));
    let probe = pair(of("RefreshPolicy::probe"));
    let obeyed = duration(of("RefreshPolicy::max_retry_after"));
    let jitter = of("RefreshPolicy::jitter").parse().expect("a share");
    let ready = duration(of("RefreshPolicy::ready_timeout"));
    for (policy, (timeout, floor)) in kinds.into_iter().zip(timeouts.into_iter().zip(floors)) {
        assert_eq!(policy.fetch_timeout(timeout), policy);
        assert_eq!(policy.demand_floor(floor), policy);
        assert_eq!(policy.min_interval(interval), policy);
        assert_eq!(policy.retry(retry.0, retry.1), policy);
        assert_eq!(policy.probe(probe.0, probe.1), policy);
        assert_eq!(policy.max_retry_after(obeyed), policy);
        assert_eq!(policy.jitter(jitter), policy);
        assert_eq!(policy.ready_timeout(ready), policy);
    }

    let policy = RotationPolicy::default();
    assert_eq!(
        policy.interval(duration(of("RotationPolicy::interval"))),
        policy
    );
    let (least, most) = pair(of("RotationPolicy::hint_bounds"));
    assert_eq!(policy.hint_bounds(least, most), policy);
    assert_eq!(
        policy.max_stale(duration(of("RotationPolicy::max_stale"))),
        policy
    );

    let limits = KeySetLimits::default();
    assert_eq!(
        limits.max_bytes(number(of("KeySetLimits::max_bytes"))),
        limits
    );
    assert_eq!(
        limits.max_keys(number(of("KeySetLimits::max_keys"))),
        limits
    );

    let rules = JwsRules::default().max_bytes(number(of("JwsRules::max_bytes")));
    assert_same(&rules, &JwsRules::default());

    let timeout = duration(of("AuthBuilder::connect_timeout"));
    assert_same(&Auth::builder().connect_timeout(timeout), &Auth::builder());
    let timeout = duration(of("AuthBuilder::read_timeout"));
    assert_same(&Auth::builder().read_timeout(timeout), &Auth::builder());
    let timeout = duration(of("AuthBuilder::store_timeout"));
    assert_same(&Auth::builder().store_timeout(timeout), &Auth::builder());

    let rules = || Verifier::builder("https://idp.example.com").audience("orders");
    let leeway = duration(of("VerifierBuilder::leeway"));
    assert_same(&rules().leeway(leeway), &rules());
    let wait = duration(of("VerifierBuilder::unknown_key_wait"));
    assert_same(&rules().unknown_key_wait(wait), &rules());
    let bytes = number(of("VerifierBuilder::max_token_bytes"));
    assert_same(&rules().max_token_bytes(bytes), &rules());
    assert_same(
        &rules().cache(number(of("VerifierBuilder::cache"))),
        &rules(),
    );
    assert_same(&rules().expiry_leeway(Duration::ZERO), &rules());
    assert_same(
        &rules().groups_claim(plain(table["VerifierBuilder::groups_claim"])),
        &rules(),
    );
    assert_same(&rules().key_set_limits(KeySetLimits::new()), &rules());
    assert_same(&rules().rotation(RotationPolicy::default()), &rules());
    assert_same(&rules().refresh(RefreshPolicy::for_keys()), &rules());
    assert_same(&rules().start(Start::Wait), &rules());

    let numbers = table
        .iter()
        .filter(|(_, default)| default.starts_with(char::is_numeric));
    let numbers: BTreeSet<_> = numbers.map(|(name, _)| *name).collect();
    assert_eq!(checked, numbers);
}

/// The front page tells less of them, in its own words, and the same numbers.
#[test]
fn the_front_page_has_the_same_numbers() {
    let table = table();
    let mut compared = 0;
    for row in rows(README, "Defaults") {
        let (mut owner, mut said) = ("", String::new());
        for name in row[2].split(", ").map(plain) {
            // Of a type alone, all its settings; a setting alone is of the type before it.
            let (of, setting) = name.split_once("::").unwrap_or(match name {
                _ if name.starts_with(char::is_uppercase) => (name, ""),
                _ => (owner, name),
            });
            owner = of;
            let prefix = format!("{of}::{setting}");
            let found = table.iter().filter(|(name, _)| match setting {
                "" => name.starts_with(&prefix),
                _ => **name == prefix,
            });
            found.for_each(|(_, default)| said = format!("{said} {default}"));
        }
        for quantity in quantities(row[1]) {
            let known = quantities(&said).contains(&quantity);
            assert!(known, "{}: {quantity} is not in {said:?}", row[0]);
            compared += 1;
        }
    }
    assert!(compared >= 20, "only {compared} numbers");
}

/// The numbers in a text that have a unit of time or size, or count something.
fn quantities(text: &str) -> Vec<String> {
    let words: Vec<_> = text
        .split([' ', ';'])
        .filter(|word| !word.is_empty())
        .collect();
    let mut found = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let number = word.trim_end_matches(',');
        if !number.starts_with(char::is_numeric) {
            continue;
        }
        let next = words
            .get(index + 1)
            .map_or("", |word| word.trim_end_matches(','));
        match next {
            "s" | "min" | "h" | "KiB" => found.push(format!("{number} {next}")),
            "%" => {}
            _ => found.push(number.to_owned()),
        }
    }
    found
}

/// Of builders that cannot be compared, but print all that they were told.
fn assert_same(one: &impl Debug, other: &impl Debug) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

#[test]
fn what_is_compared_by_how_it_prints_does_print() {
    let second = Duration::from_secs(1);
    let auth = format!("{:?}", Auth::builder());
    for other in [
        Auth::builder().connect_timeout(second),
        Auth::builder().read_timeout(second),
        Auth::builder().store_timeout(second * 2),
    ] {
        assert_ne!(format!("{other:?}"), auth);
    }
    let rules = || Verifier::builder("https://idp.example.com").audience("orders");
    let shown = format!("{:?}", rules());
    for other in [
        rules().leeway(second),
        rules().unknown_key_wait(second * 2),
        rules().max_token_bytes(1),
        rules().cache(1),
        rules().expiry_leeway(second),
        rules().groups_claim("roles"),
        rules().key_set_limits(KeySetLimits::new().max_keys(1)),
        rules().rotation(RotationPolicy::new().interval(second)),
        rules().refresh(RefreshPolicy::for_tokens()),
        rules().start(Start::Lazy),
    ] {
        assert_ne!(format!("{other:?}"), shown);
    }
    assert_ne!(
        format!("{:?}", JwsRules::default().max_bytes(1)),
        format!("{:?}", JwsRules::default())
    );
}

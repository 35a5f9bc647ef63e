//! What we link must be free to pass on under our own licence.

use crate::Finding;
use crate::workspace::Package;

/// Licences that ask for no more than a notice.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "WTFPL",
    "Zlib",
];

/// Every package that we depend on, directly or not, has a permissive licence.
#[must_use]
pub fn permissive(packages: &[Package]) -> Vec<Finding> {
    packages
        .iter()
        .filter(|package| !allows(&package.license))
        .map(|package| {
            let what =
                format!("its licence {:?} is not in the list of permissive ones", package.license);
            Finding::new(&package.name, what)
        })
        .collect()
}

/// Whether an SPDX expression can be met with permissive licences alone.
fn allows(expression: &str) -> bool {
    // `MIT/Apache-2.0` is how older manifests wrote OR.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest) && rest.is_empty()
}

fn any(words: &mut &[&str]) -> bool {
    let mut allowed = all(words);
    while take(words, "OR") {
        allowed |= all(words);
    }
    allowed
}

fn all(words: &mut &[&str]) -> bool {
    let mut allowed = one(words);
    while take(words, "AND") {
        allowed &= one(words);
    }
    allowed
}

fn one(words: &mut &[&str]) -> bool {
    if take(words, "(") {
        let allowed = any(words);
        return take(words, ")") && allowed;
    }
    let Some((name, rest)) = words.split_first() else {
        return false;
    };
    *words = rest;
    // An exception only ever permits more.
    if take(words, "WITH") {
        *words = words.get(1..).unwrap_or_default();
    }
    PERMISSIVE.contains(name)
}

fn take(words: &mut &[&str], word: &str) -> bool {
    match words.split_first() {
        Some((first, rest)) if *first == word => {
            *words = rest;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        for (expression, want) in [
            ("MIT OR Apache-2.0", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 AND MIT", false),
            ("ISC AND (Apache-2.0 OR GPL-2.0) AND OpenSSL", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception OR MIT", true),
            ("", false),
            ("(MIT", false),
        ] {
            assert_eq!(allows(expression), want, "{expression}");
        }
    }

    #[test]
    fn a_package_under_another_licence_is_named() {
        let package = Package {
            name: "viral".to_owned(),
            license: "AGPL-3.0-only".to_owned(),
            ..Package::default()
        };
        assert_eq!(permissive(&[package])[0].place, "viral");
    }
}

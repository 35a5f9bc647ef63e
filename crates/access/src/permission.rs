//! What a token of the API may do, and on what.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// One thing that may be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Seeing live inputs; not the keys that encoders publish with.
    InputsRead,
    /// Making, changing and deleting live inputs, and seeing their keys.
    InputsWrite,
    /// Seeing videos.
    VideosRead,
    /// Changing and deleting videos.
    VideosWrite,
    /// Signing links, listing them and taking them back.
    LinksWrite,
    /// Seeing which signing keys there are.
    KeysRead,
    /// Making and deleting signing keys.
    KeysWrite,
    /// Seeing API tokens (never their values).
    TokensRead,
    /// Making, changing and deleting API tokens that may do no more than the one that does it.
    TokensWrite,
    /// Reading the audit log.
    AuditRead,
}

use Permission::{
    AuditRead, InputsRead, InputsWrite, KeysRead, KeysWrite, LinksWrite, TokensRead, TokensWrite,
    VideosRead, VideosWrite,
};

impl Permission {
    /// All of them.
    pub const ALL: [Self; 10] = [
        InputsRead,
        InputsWrite,
        VideosRead,
        VideosWrite,
        LinksWrite,
        KeysRead,
        KeysWrite,
        TokensRead,
        TokensWrite,
        AuditRead,
    ];

    /// Its name, `inputs:read`; it is the scope of the same name too.
    pub fn name(self) -> &'static str {
        match self {
            InputsRead => "inputs:read",
            InputsWrite => "inputs:write",
            VideosRead => "videos:read",
            VideosWrite => "videos:write",
            LinksWrite => "links:write",
            KeysRead => "keys:read",
            KeysWrite => "keys:write",
            TokensRead => "tokens:read",
            TokensWrite => "tokens:write",
            AuditRead => "audit:read",
        }
    }
}

/// A scope: what a token is given. The vendor calls it a permission group.
#[derive(Debug, PartialEq, Eq)]
pub struct Scope {
    /// Its id in the vendor's shape. Kept in tokens of clients: never changed.
    pub id: &'static str,
    /// Its name on the command line and in documents.
    pub name: &'static str,
    /// The name that the vendor's clients show; the first two are the vendor's own.
    pub title: &'static str,
    /// What it allows.
    pub permissions: &'static [Permission],
}

const fn scope(
    id: &'static str,
    name: &'static str,
    title: &'static str,
    permissions: &'static [Permission],
) -> Scope {
    Scope { id, name, title, permissions }
}

/// Every scope.
pub const SCOPES: &[Scope] = &[
    scope(
        "a1720000000000000000000000000001",
        "stream:read",
        "Stream Read",
        &[InputsRead, VideosRead, KeysRead],
    ),
    scope(
        "a1720000000000000000000000000002",
        "stream:write",
        "Stream Write",
        &[InputsRead, InputsWrite, VideosRead, VideosWrite, LinksWrite, KeysRead, KeysWrite],
    ),
    scope("a1720000000000000000000000000003", "inputs:read", "Live Inputs Read", &[InputsRead]),
    scope(
        "a1720000000000000000000000000004",
        "inputs:write",
        "Live Inputs Write",
        &[InputsRead, InputsWrite],
    ),
    scope("a1720000000000000000000000000005", "videos:read", "Videos Read", &[VideosRead]),
    scope(
        "a1720000000000000000000000000006",
        "videos:write",
        "Videos Write",
        &[VideosRead, VideosWrite],
    ),
    scope("a1720000000000000000000000000007", "links:write", "Signed Links Write", &[LinksWrite]),
    scope("a1720000000000000000000000000008", "keys:read", "Signing Keys Read", &[KeysRead]),
    scope(
        "a1720000000000000000000000000009",
        "keys:write",
        "Signing Keys Write",
        &[KeysRead, KeysWrite],
    ),
    scope("a172000000000000000000000000000a", "tokens:read", "API Tokens Read", &[TokensRead]),
    scope(
        "a172000000000000000000000000000b",
        "tokens:write",
        "API Tokens Write",
        &[TokensRead, TokensWrite],
    ),
    scope("a172000000000000000000000000000c", "audit:read", "Audit Logs Read", &[AuditRead]),
    scope("a172000000000000000000000000000d", "all", "Everything", &Permission::ALL),
];

impl Scope {
    /// A scope by its id or by its name.
    pub fn find(text: &str) -> Option<&'static Self> {
        SCOPES.iter().find(|scope| scope.id == text || scope.name == text)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// Everything of the account, and what belongs to nothing smaller.
    Account,
    /// A live input.
    Input(&'a str),
    /// A video, and the live input that it was broadcast on.
    Video {
        /// Its uid.
        uid: &'a str,
        /// The input's.
        input: &'a str,
    },
}

/// What a policy is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resources {
    /// All of the account.
    All,
    /// Only these live inputs with their videos, and these videos.
    Only {
        /// Uids of live inputs.
        inputs: BTreeSet<String>,
        /// Uids of videos.
        videos: BTreeSet<String>,
    },
}

impl Resources {
    fn has(&self, resource: Resource<'_>) -> bool {
        match (self, resource) {
            (Self::All, _) => true,
            (Self::Only { .. }, Resource::Account) => false,
            (Self::Only { inputs, .. }, Resource::Input(uid)) => inputs.contains(uid),
            (Self::Only { inputs, videos }, Resource::Video { uid, input }) => {
                videos.contains(uid) || inputs.contains(input)
            }
        }
    }

    /// Whether they have something in common with this one: to forbid one input is to forbid the account as a whole.
    fn touches(&self, resource: Resource<'_>) -> bool {
        resource == Resource::Account || self.has(resource)
    }
}

/// One line of what a token may do: scopes on resources, allowed or (stronger) denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Allowed; else denied.
    pub allow: bool,
    /// Names of [`Scope`]s.
    pub scopes: Vec<String>,
    /// On what.
    pub resources: Resources,
}

impl Policy {
    /// The permissions of its scopes.
    pub fn permissions(&self) -> BTreeSet<Permission> {
        let scopes = self.scopes.iter().filter_map(|name| Scope::find(name));
        scopes.flat_map(|scope| scope.permissions.iter().copied()).collect()
    }
}

/// Whether these policies permit it: one allows it, and none denies it.
pub fn permits(policies: &[Policy], permission: Permission, resource: Resource<'_>) -> bool {
    let about = |policy: &&Policy| policy.permissions().contains(&permission);
    let denied = |p: &Policy| !p.allow && p.resources.touches(resource);
    !policies.iter().filter(about).any(denied)
        && policies.iter().filter(about).any(|p| p.allow && p.resources.has(resource))
}

/// Whether these policies allow all that `others` allow, whatever the latter deny: nobody gives more than they have.
pub fn covers(policies: &[Policy], others: &[Policy]) -> bool {
    others.iter().filter(|other| other.allow).all(|other| {
        other.permissions().into_iter().all(|permission| match &other.resources {
            Resources::All => permits(policies, permission, Resource::Account),
            Resources::Only { inputs, videos } => {
                let input = |uid: &String| permits(policies, permission, Resource::Input(uid));
                // Of a video alone it is not known here which input it has.
                let video = |uid: &String| {
                    permits(policies, permission, Resource::Video { uid, input: "" })
                };
                inputs.iter().all(input) && videos.iter().all(video)
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(inputs: &[&str], videos: &[&str]) -> Resources {
        let set = |uids: &[&str]| uids.iter().map(|uid| (*uid).to_owned()).collect();
        Resources::Only { inputs: set(inputs), videos: set(videos) }
    }

    fn policy(allow: bool, scope: &str, resources: Resources) -> Policy {
        assert!(Scope::find(scope).is_some(), "{scope}");
        Policy { allow, scopes: vec![scope.to_owned()], resources }
    }

    #[test]
    fn a_policy_is_about_what_it_names_and_a_denial_is_stronger() {
        let video = |uid, input| Resource::Video { uid, input };
        let all = [policy(true, "inputs:write", Resources::All)];
        let one = [policy(true, "stream:write", only(&["i"], &["v"]))];
        let but =
            [policy(true, "all", Resources::All), policy(false, "inputs:write", only(&["i"], &[]))];
        for (policies, permission, resource, expect) in [
            (&all[..], InputsWrite, Resource::Account, true),
            (&all, InputsRead, Resource::Input("x"), true),
            (&all, VideosRead, Resource::Account, false),
            (&one, InputsWrite, Resource::Input("i"), true),
            (&one, InputsWrite, Resource::Input("j"), false),
            (&one, InputsWrite, Resource::Account, false),
            (&one, VideosRead, video("v", "j"), true),
            (&one, VideosRead, video("w", "i"), true),
            (&one, VideosRead, video("w", "j"), false),
            (&one, AuditRead, Resource::Account, false),
            (&but, InputsWrite, Resource::Input("j"), true),
            (&but, InputsWrite, Resource::Input("i"), false),
            (&but, InputsWrite, Resource::Account, false),
            (&but, VideosWrite, video("w", "i"), true),
            (&[], InputsRead, Resource::Account, false),
        ] {
            assert_eq!(
                permits(policies, permission, resource),
                expect,
                "{permission:?} {resource:?}"
            );
        }
    }

    #[test]
    fn nobody_gives_more_than_they_have() {
        let root = [policy(true, "all", Resources::All)];
        let one = [policy(true, "stream:write", only(&["i"], &["v"]))];
        let but =
            [policy(true, "all", Resources::All), policy(false, "inputs:write", only(&["i"], &[]))];
        for (giver, given, expect) in [
            (&root[..], &root[..], true),
            (&root, &one, true),
            (&one, &root, false),
            (&one, &one, true),
            (&one, &[policy(true, "inputs:read", only(&["j"], &[]))], false),
            (&one, &[policy(true, "audit:read", only(&["i"], &[]))], false),
            (&one, &[policy(true, "videos:read", only(&[], &["w"]))], false),
            (&but, &root, false),
            (&but, &[policy(true, "inputs:read", only(&["i"], &[]))], false),
            (&but, &[policy(true, "inputs:read", only(&["j"], &[]))], true),
        ] {
            assert_eq!(covers(giver, given), expect, "{giver:?} {given:?}");
        }
    }

    #[test]
    fn scopes_are_told_apart() {
        for scope in SCOPES {
            assert_eq!(Scope::find(scope.id), Some(scope));
            assert_eq!(Scope::find(scope.name), Some(scope));
            assert_eq!(scope.id.len(), 32);
        }
        for permission in Permission::ALL {
            let scope = Scope::find(permission.name()).unwrap();
            assert!(scope.permissions.contains(&permission), "{permission:?}");
        }
    }
}

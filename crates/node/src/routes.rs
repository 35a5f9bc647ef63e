//! The authorisation table: every route of every HTTP listener, with who may use it and on what.

use access::table::Row;

use crate::{admin, domain, quic};

/// All rows, by listener.
pub fn table() -> Vec<(&'static str, Row)> {
    let open = |path: &str, who| Row { method: "GET", path: path.to_owned(), who, of: "nobody's" };
    let web = api::table()
        .into_iter()
        .chain(deliver::table())
        .chain([open(quic::CERTIFICATE_HASH, "everybody")])
        .map(|row| ("http, https", row));
    let ports = [
        ("http, https, domain_http", open(domain::PROOF, "everybody, while a name is proved")),
        ("domain_http", open(domain::ELSEWHERE, "everybody: leads to HTTPS")),
    ];
    let admin = admin::paths().map(|path| ("admin", open(path, "who reaches the listener")));
    web.chain(ports).chain(admin).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;
    use std::path::Path;

    use super::*;

    const BEGIN: &str = "<!-- authorisation table: written by the code -->\n";
    const END: &str = "<!-- end of the authorisation table -->";

    fn text() -> String {
        let mut text = String::from(
            "\n| listener | method | route | who may | on what |\n|---|---|---|---|---|\n",
        );
        for (listener, Row { method, path, who, of }) in table() {
            writeln!(text, "| {listener} | {method} | `{path}` | {who} | {of} |").unwrap();
        }
        text + "\n"
    }

    #[test]
    fn the_authorisation_table_stands_in_the_documents() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/security.md");
        let document = std::fs::read_to_string(&file).unwrap();
        let (before, rest) = document.split_once(BEGIN).expect(BEGIN);
        let (found, after) = rest.split_once(END).expect(END);
        if std::env::var_os("AIRWAVE_WRITE_SNAPSHOTS").is_some() {
            std::fs::write(&file, [before, BEGIN, &text(), END, after].concat()).unwrap();
            return;
        }
        let words = "docs/security.md is not what the routers say; write it: \
                     AIRWAVE_WRITE_SNAPSHOTS=1 cargo nextest run -p node authorisation";
        assert_eq!(found, text(), "{words}");
    }

    #[test]
    fn no_route_has_two_rows_of_the_authorisation_table() {
        let mut rows: Vec<_> = table().into_iter().map(|(_, row)| (row.path, row.method)).collect();
        let count = rows.len();
        rows.sort();
        rows.dedup();
        assert_eq!(rows.len(), count);
    }
}

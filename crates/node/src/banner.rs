//! What a person reads at the start, on a terminal.

use std::fmt::Write;

/// What there is to say.
#[derive(Debug, Clone, Default)]
pub struct Banner {
    /// The program's version.
    pub version: &'static str,
    /// Where to look.
    pub page: Option<String>,
    /// The same for phones and other machines, which give pages their full powers over TLS only.
    pub secure_page: SecurePage,
    /// How it stands with the certificate of our names.
    pub certificate: Option<String>,
    /// Where to watch, and the credit of what is on.
    pub demo: Option<(String, Option<String>)>,
    /// The same over MoQ.
    pub moq: Option<String>,
    /// Server and stream key for an encoder, and the page where it will be seen.
    pub encoder: Option<(String, String, String)>,
    /// Where the API token is kept.
    pub token_at: String,
}

/// What there is for phones.
#[derive(Debug, Clone, Default)]
pub enum SecurePage {
    /// It goes by a name, as everything does; or there is no HTTPS.
    #[default]
    None,
    /// Listeners are on the loopback.
    ThisMachineOnly,
    /// Its address.
    At(String),
}

impl Banner {
    /// The words.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "\n  Airwave {}\n", self.version);
        if let Some((url, credit)) = &self.demo {
            let _ = writeln!(out, "  Watch the demo   {url}");
            if let Some(credit) = credit {
                let _ = writeln!(out, "                   {credit}");
            }
            // Over HLS, where all that was is in the list: MoQ's player, of the first link, is nearer to the source.
            if !url.is_empty() {
                let _ = writeln!(out, "  With a seek bar  {url}?dvrEnabled=true");
            }
        }
        if let Some(address) = &self.moq {
            let _ = writeln!(out, "  Over MoQ         {address}");
        }
        if let Some(page) = &self.page {
            let _ = writeln!(out, "  Your page        {page}");
        }
        if let Some(words) = &self.certificate {
            let _ = writeln!(out, "  Certificate      {words}");
        }
        let for_phones = match &self.secure_page {
            SecurePage::None => None,
            SecurePage::ThisMachineOnly => Some((
                "none: only this machine is let in",
                "(HOST=0.0.0.0 make run, or https.listen, lets others in)",
            )),
            SecurePage::At(page) => {
                Some((&**page, "(the certificate is self-signed: confirm the warning)"))
            }
        };
        if let Some((where_to, words)) = for_phones {
            let _ = writeln!(out, "  For phones       {where_to}\n                   {words}");
        }
        if let Some((server, key, watch)) = &self.encoder {
            let _ =
                writeln!(out, "\n  Go live with OBS: Settings > Stream > Service \"Custom...\"");
            let _ = writeln!(out, "    Server         {server}");
            let _ = writeln!(out, "    Stream Key     {key}");
            let _ = writeln!(out, "    Watch it at    {watch}");
        }
        let _ = writeln!(out, "\n  The API token is in {}\n", self.token_at);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_reads_this() {
        let banner = Banner {
            version: "0.1.0",
            page: Some("http://127.0.0.1:8080/#token=aw_T".into()),
            secure_page: SecurePage::At("https://192.0.2.1:8443/".into()),
            certificate: Some("for live.example.org, valid for 90 days".into()),
            demo: Some((
                "http://127.0.0.1:8080/00ab/watch".into(),
                Some("A film, CC BY 3.0".into()),
            )),
            moq: Some("moqt://127.0.0.1:4443/#msf:default-00ab".into()),
            encoder: Some((
                "rtmp://127.0.0.1:1935/live".into(),
                "KEY".into(),
                "http://127.0.0.1:8080/00cd/watch".into(),
            )),
            token_at: "airwave-data/api-token".into(),
        };
        let expect = r#"
  Airwave 0.1.0

  Watch the demo   http://127.0.0.1:8080/00ab/watch
                   A film, CC BY 3.0
  With a seek bar  http://127.0.0.1:8080/00ab/watch?dvrEnabled=true
  Over MoQ         moqt://127.0.0.1:4443/#msf:default-00ab
  Your page        http://127.0.0.1:8080/#token=aw_T
  Certificate      for live.example.org, valid for 90 days
  For phones       https://192.0.2.1:8443/
                   (the certificate is self-signed: confirm the warning)

  Go live with OBS: Settings > Stream > Service "Custom..."
    Server         rtmp://127.0.0.1:1935/live
    Stream Key     KEY
    Watch it at    http://127.0.0.1:8080/00cd/watch

  The API token is in airwave-data/api-token

"#;
        assert_eq!(banner.text(), expect);
    }
}

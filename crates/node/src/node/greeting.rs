//! What a node begins with: its first inputs, the demo, and what there is to say about them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use control::{Control, DocumentError, DocumentKey, Expect, Input, InputSettings, InputUid, Page};
use rtmp::client::Target;

use super::data_dir::API_TOKEN;
use super::{Node, Options, fill_random, random};
use crate::banner::{Banner, SecurePage};
use crate::config::Config;
use crate::demo::{Clip, credit};
use crate::ingest::now_ms;

impl Node {
    /// The demo, and what there is to say.
    pub(super) async fn begin(
        &self,
        config: &Config,
        options: &Options,
        control: &Control,
        inputs: OwnInputs,
        token: &str,
    ) -> Result<Banner> {
        let host = |address: SocketAddr| match config.public_host() {
            None => here(address, Ipv4Addr::LOCALHOST.into()).to_string(),
            Some(name) => format!("{name}:{}", address.port()),
        };
        let network = own_address().unwrap_or(Ipv4Addr::LOCALHOST.into());
        let from_outside = |address: SocketAddr| match config.public_host() {
            None => here(address, network).to_string(),
            Some(_) => host(address),
        };
        let by_name = self.addresses.domain_https.map(|a| match (config.public_host(), a.port()) {
            (Some(name), 443) => format!("https://{name}/"),
            _ => format!("https://{}/", host(a)),
        });
        let in_clear = || self.addresses.http.map(|a| format!("http://{}/", host(a)));
        let page = by_name.clone().or_else(in_clear);
        let watch = |input: &InputUid| {
            page.as_ref().map(|p| format!("{p}{input}/watch")).unwrap_or_default()
        };
        let mut banner = Banner {
            version: self.addresses.version,
            // The page takes the token out of the address bar; it is shown on a terminal only.
            page: page.as_ref().map(|page| format!("{page}#token={}", token.trim())),
            secure_page: match self.addresses.https {
                Some(a) if by_name.is_none() => match a.ip().is_loopback() {
                    true => SecurePage::ThisMachineOnly,
                    false => SecurePage::At(format!("https://{}/", from_outside(a))),
                },
                _ => SecurePage::None,
            },
            certificate: None,
            demo: None,
            moq: None,
            encoder: None,
            token_at: match config.api.token {
                Some(_) => "the configuration: api.token".to_owned(),
                None => config.data.dir.join(API_TOKEN).display().to_string(),
            },
        };
        if let (Some(path), Some(input), Some(rtmp)) =
            (&options.demo, &inputs.demo, self.addresses.rtmp)
        {
            let clip = Clip::open(path).await?;
            credit_demo(control, input, clip.credit.as_deref()).await?;
            banner.demo = Some((watch(input), clip.credit.clone()));
            let moq = |quic| format!("moqt://{}/#msf:default-{input}", host(quic));
            banner.moq = self.addresses.quic.map(moq);
            let keys = control.input_keys(input).await?.context("the demo's input is gone")?;
            let local = match rtmp {
                SocketAddr::V6(_) => here(rtmp, Ipv6Addr::LOCALHOST.into()),
                SocketAddr::V4(_) => here(rtmp, Ipv4Addr::LOCALHOST.into()),
            };
            let url = format!("rtmp://{local}/live/{}", keys.stream_key.expose());
            let target = Target::parse(&url).context("the demo's address")?;
            let mut stopped = self.stop.subscribe();
            self.tasks.spawn(async move {
                tokio::select! {
                    () = clip.publish(target, fill_random) => {}
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
            });
        }
        let keys = control.input_keys(&inputs.first).await?;
        let rtmp = self.addresses.rtmp.map(|a| format!("rtmp://{}/live", from_outside(a)));
        let rtmps = || self.addresses.rtmps.map(|a| format!("rtmps://{}/live", from_outside(a)));
        banner.encoder = keys.zip(rtmp.or_else(rtmps)).map(|(keys, server)| {
            (server, keys.stream_key.expose().to_owned(), watch(&inputs.first))
        });
        Ok(banner)
    }
}

/// Where a listener is found: at its own address, or at `this` one if it listens on all of them.
fn here(listener: SocketAddr, this: IpAddr) -> SocketAddr {
    match listener.ip().is_unspecified() {
        true => SocketAddr::new(this, listener.port()),
        false => listener,
    }
}

/// The address of this machine that others have a way to: the one that it would send from, to an address that
/// nobody has (RFC 5737). Nothing is sent. None without a network.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The inputs that a node has from its first start: one to go live with, one for the demo.
pub(super) struct OwnInputs {
    pub(super) first: InputUid,
    pub(super) demo: Option<InputUid>,
}

/// Behind it stands whom the clip is of, if that is known.
const DEMO_NAME: &str = "Demo";
const FIRST_NAME: &str = "My live input";

/// `demo`: its clip, if there is to be one.
pub(super) async fn own_inputs(control: &Control, demo: Option<&Path>) -> Result<OwnInputs> {
    // They are the oldest ones, unless their owner has deleted them.
    let page = Page { newest_first: false, rows: 10, ..Page::default() };
    let oldest = control.inputs(page).await.context("can't read the live inputs")?.rows;
    let known = demo_input(control).await.context("can't read which input is the demo's")?;
    let earlier = || demo.and_then(|clip| earlier_demo(&oldest, &credit(clip)?));
    let found = known.clone().or_else(earlier);
    let first = match oldest.iter().find(|input| Some(&input.uid) != found.as_ref()) {
        Some(input) => input.uid.clone(),
        None => create(control, FIRST_NAME).await?,
    };
    if demo.is_none() {
        return Ok(OwnInputs { first, demo: None });
    }
    let demo = match found {
        Some(input) => input,
        None => create(control, DEMO_NAME).await?,
    };
    if known.is_none() {
        let named = Bytes::from(demo.to_string());
        control.put_document(demo_key()?, named, Expect::Any).await?;
    }
    Ok(OwnInputs { first, demo: Some(demo) })
}

/// That of a version that did not write down which one it is: what it had called it, with whom this clip is of, nobody calls theirs.
fn earlier_demo(oldest: &[Input], credit: &str) -> Option<InputUid> {
    let name = serde_json::Value::from(demo_name(Some(credit)));
    let named = oldest.iter().find(|input| input.settings.meta.get("name") == Some(&name));
    named.map(|input| input.uid.clone())
}

/// The input that was made for the demo, by its id: others may have any name.
async fn demo_input(control: &Control) -> Result<Option<InputUid>> {
    let Some(document) = control.document(demo_key()?).await? else { return Ok(None) };
    let uid = std::str::from_utf8(&document.content).ok().and_then(|uid| InputUid::parse(uid).ok());
    let Some(uid) = uid else { return Ok(None) };
    Ok(control.input(&uid).await?.map(|input| input.uid))
}

fn demo_key() -> Result<DocumentKey> {
    Ok(DocumentKey::new("demo", "input")?)
}

/// Licences ask that the author is named where a film is watched: in its title.
async fn credit_demo(control: &Control, input: &InputUid, credit: Option<&str>) -> Result<()> {
    let name = demo_name(credit);
    let named = move |settings: &mut InputSettings| {
        settings.meta.insert("name".to_owned(), name.into());
        Ok::<_, DocumentError>(())
    };
    control.change_input(input, named, now_ms()).await?;
    Ok(())
}

fn demo_name(credit: Option<&str>) -> String {
    credit.map_or_else(|| DEMO_NAME.to_owned(), |credit| format!("{DEMO_NAME}: {credit}"))
}

async fn create(control: &Control, name: &str) -> Result<InputUid> {
    let mut settings = InputSettings::default();
    settings.meta.insert("name".to_owned(), name.into());
    let uid = InputUid::from_random(random());
    Ok(control.create_input(uid, settings, random(), now_ms()).await?.uid)
}

#[cfg(test)]
mod tests {
    use control::MasterKey;

    use super::*;

    #[tokio::test]
    async fn an_input_of_somebody_who_calls_it_demo_is_not_the_demos() {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::new(&[7; 32]);
        let control = Control::open(&folder.path().join("db"), key).unwrap();
        let own = create(&control, "Demo: our product").await.unwrap();
        let clip = folder.path().join("clip.mp4");
        let inputs = own_inputs(&control, Some(&clip)).await.unwrap();
        let demo = inputs.demo.unwrap();
        assert!(inputs.first == own && demo != own);
        credit_demo(&control, &demo, Some("its author")).await.unwrap();
        let name = async |input: &InputUid| {
            let input = control.input(input).await.unwrap().unwrap();
            input.settings.meta["name"].clone()
        };
        assert_eq!(name(&own).await, "Demo: our product");
        // It is found again, whatever it is called, and with a new one once it is deleted.
        let rename = |settings: &mut InputSettings| {
            settings.meta.insert("name".to_owned(), "Ours".into());
            Ok::<_, DocumentError>(())
        };
        control.change_input(&demo, rename, 1).await.unwrap();
        assert_eq!(own_inputs(&control, Some(&clip)).await.unwrap().demo, Some(demo.clone()));
        control.delete_input(&demo, Expect::Any, 1).await.unwrap();
        let again = own_inputs(&control, Some(&clip)).await.unwrap();
        assert!(
            again.first == own && again.demo.is_some_and(|again| again != own && again != demo)
        );
    }

    #[tokio::test]
    async fn the_demo_of_a_version_that_did_not_write_it_down_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::open(&folder.path().join("db"), MasterKey::new(&[7; 32])).unwrap();
        let old = create(&control, "Demo: its author, CC BY").await.unwrap();
        let own = create(&control, FIRST_NAME).await.unwrap();
        let [clip, other] = ["clip.mp4", "other.mp4"].map(|name| folder.path().join(name));
        std::fs::write(clip.with_extension("txt"), "its author, CC BY\nand more\n").unwrap();
        std::fs::write(other.with_extension("txt"), "somebody else").unwrap();
        // Known from then on, whatever clip there is.
        for clip in [&clip, &other] {
            let inputs = own_inputs(&control, Some(clip)).await.unwrap();
            assert_eq!((inputs.first, inputs.demo), (own.clone(), Some(old.clone())));
        }
    }
}

//! An independent MoQ client for the end-to-end tests: moqtap-client.
//!
//! ```text
//! moq-peer DRAFT watch ADDRESS NAMESPACE FOLDER   every cmaf track of the catalog: its past by FETCH, the rest live, until
//!                                                 there is a file FOLDER/over and nothing more comes
//! moq-peer DRAFT publish ADDRESS/KEY NAMESPACE FILE   an MP4 of one H.264 track in fragments of a second, in real time
//! moq-peer DRAFT say ADDRESS NAMESPACE TRACK      a line a tenth of a second in groups of one, until it is ended
//! ```
//!
//! `watch` writes FOLDER/NAME.mp4: the initialisation segment of the catalog, then the objects in order. It prints how many
//! FETCH brought and how many came live, and stops where both brought an object and they differ.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use moqtap_client::dispatch::{
    AnyArrival, AnyClientConfig, AnyConnection, AnyRequest, AnySubgroupReader, AnyTransportType,
    FetchRange, fetch_group_order,
};
use moqtap_codec::dispatch::AnySubgroupHeader;
use moqtap_codec::fields::FieldValue;
use moqtap_codec::kvp::{KeyValuePair, KvpValue};
use moqtap_codec::types::{FilterType, GroupOrder, TrackNamespace};
use moqtap_codec::varint::VarInt;
use moqtap_codec::version::DraftVersion;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Objects by group, subgroup and id.
type Objects = BTreeMap<(u64, u64, u64), Vec<u8>>;

/// The setup options of these names.
const PATH: u64 = 0x01;
const MAX_REQUEST_ID: u64 = 0x02;
/// Nothing has come for so long, and the broadcast is over: this was all of it.
const QUIET: Duration = Duration::from_secs(6);
/// Whatever happens, it ends by itself.
const PATIENCE: Duration = Duration::from_secs(900);

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = async {
        match words[..] {
            [draft, "watch", address, namespace, folder, first] => {
                let first = first.parse()?;
                watch(draft, address, &named(namespace), Path::new(folder), first).await
            }
            [draft, "publish", address, namespace, file] => {
                let file = std::fs::read(file)?;
                publish(connect(draft, address).await?, &named(namespace), &file).await
            }
            [draft, "say", address, namespace, track] => {
                say(connect(draft, address).await?, &named(namespace), track).await
            }
            _ => Err("moq-peer DRAFT watch|publish|say ADDRESS NAMESPACE FOLDER|FILE|TRACK".into()),
        }
    };
    timeout(PATIENCE, done).await?
}

fn named(namespace: &str) -> TrackNamespace {
    TrackNamespace(namespace.split('/').map(|field| field.as_bytes().to_vec()).collect())
}

async fn connect(draft: &str, address: &str) -> Result<AnyConnection> {
    let draft = match draft {
        "16" => DraftVersion::Draft16,
        "18" => DraftVersion::Draft18,
        "20" => DraftVersion::Draft20,
        "21" => DraftVersion::Draft21,
        "22" => DraftVersion::Draft22,
        other => return Err(format!("draft {other} is not built in").into()),
    };
    let (address, path) = address.split_once('/').unwrap_or((address, ""));
    let path = KeyValuePair {
        key: VarInt::from_u64_moqt(PATH),
        value: KvpValue::Bytes(format!("/{path}").into_bytes()),
    };
    let mut setup_parameters = vec![path];
    if draft == DraftVersion::Draft16 {
        // Who publishes is asked: so many times at most.
        setup_parameters.push(KeyValuePair {
            key: VarInt::from_u64_moqt(MAX_REQUEST_ID),
            value: KvpValue::Varint(VarInt::from_u64_moqt(100)),
        });
    }
    let config = AnyClientConfig {
        draft,
        additional_versions: Vec::new(),
        transport: AnyTransportType::Quic,
        skip_cert_verification: true,
        ca_certs: Vec::new(),
        setup_parameters,
    };
    Ok(AnyConnection::connect(address, config).await?)
}

async fn watch(
    draft: &str,
    address: &str,
    namespace: &TrackNamespace,
    folder: &Path,
    first: u64,
) -> Result<()> {
    // Two sessions: this library tells the streams of a FETCH from those of a subscription by who waits for them.
    let mut fetching = connect(draft, address).await?;
    let mut watching = connect(draft, address).await?;
    let catalog = past(&mut fetching, namespace, "catalog", 0).await?;
    let newest = catalog.values().next_back().ok_or("the catalog is empty")?;
    let catalog: serde_json::Value = serde_json::from_slice(newest)?;
    let list = |name: &str| catalog[name].as_array().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let mut inits = BTreeMap::new();
    for init in list("initDataList") {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text(&init["data"]))?;
        inits.insert(text(&init["id"]), bytes);
    }
    let cmaf = |entry: &serde_json::Value| entry["packaging"] == "cmaf";
    let tracks: Vec<(String, Vec<u8>)> = list("tracks")
        .iter()
        .filter(|entry| cmaf(entry))
        .map(|entry| (text(&entry["name"]), inits[&text(&entry["initRef"])].clone()))
        .collect();
    let names: Vec<&str> = tracks.iter().map(|(name, _)| &**name).collect();
    let aliases = subscribe(&mut watching, namespace, &names).await?;
    // What is older than the subscription is there now, whatever comes meanwhile.
    let mut before = Vec::new();
    for name in &names {
        before.push(past(&mut fetching, namespace, name, first).await?);
        println!("fetched {name}");
    }
    let live = follow(&watching, &aliases.0, &names, &folder.join("over")).await?;
    for (((name, init), mut objects), live) in tracks.iter().zip(before).zip(live) {
        println!("{name}: {} by FETCH, {} live", objects.len(), live.len());
        for (at, payload) in live {
            if objects.get(&at).is_some_and(|fetched| *fetched != payload) {
                return Err(format!("{name} {at:?}: FETCH and SUBSCRIBE differ").into());
            }
            objects.insert(at, payload);
        }
        write(&folder.join(format!("{name}.mp4")), init, &objects)?;
    }
    Ok(())
}

fn write(path: &Path, init: &[u8], objects: &Objects) -> Result<()> {
    let media = objects.values().flatten().copied();
    Ok(std::fs::write(path, init.iter().copied().chain(media).collect::<Vec<u8>>())?)
}

/// All that there is of a track from this group on. Before the first one there would be an end of a range, which this library
/// reads with a payload length that none has (docs/protocols/moq-interop.md).
async fn past(
    session: &mut AnyConnection,
    namespace: &TrackNamespace,
    name: &str,
    first: u64,
) -> Result<Objects> {
    let range = FetchRange::through_end_of_group(first, 0, (1 << 61) - 1);
    let mut request = session.fetch(namespace.clone(), name.into(), range).await?;
    let answer = session.recv_response(&mut request).await?.ok_or("no answer to FETCH")?;
    if let Some(code) = answer.fields().get("error_code") {
        return Err(format!("FETCH of {name}: {code:?} {answer:?}").into());
    }
    let order = match fetch_group_order(&answer) {
        GroupOrder::Descending => GroupOrder::Descending,
        _ => GroupOrder::Ascending,
    };
    let (_, mut stream) = session.accept_fetch(order).await?;
    let mut objects = Objects::new();
    // The stream's end arrives as an error.
    while let Ok(object) = stream.read_object().await {
        if object.end_of_range.is_none() {
            let at = (object.group_id, object.subgroup_id.unwrap_or(0), object.object_id);
            objects.insert(at, object.payload);
        }
    }
    Ok(objects)
}

/// Subscribes to tracks: which alias is which of them, and what keeps the subscriptions.
async fn subscribe(
    session: &mut AnyConnection,
    namespace: &TrackNamespace,
    names: &[&str],
) -> Result<(BTreeMap<u64, usize>, Vec<AnyRequest>)> {
    let (mut aliases, mut requests) = (BTreeMap::new(), Vec::new());
    for name in names {
        let (order, filter) = (GroupOrder::Ascending, FilterType::LargestObject);
        let track = name.as_bytes().to_vec();
        let mut request = session.subscribe(namespace.clone(), track, 128, order, filter).await?;
        let answer = session.recv_response(&mut request).await?.ok_or("no answer to SUBSCRIBE")?;
        let fields = answer.fields();
        let Some(FieldValue::Uint(alias)) = fields.get("track_alias") else {
            return Err(format!("SUBSCRIBE of {name}: {answer:?}").into());
        };
        aliases.insert(*alias, aliases.len());
        requests.push(request);
        println!("begun {name}");
    }
    Ok((aliases, requests))
}

/// Reads what subscriptions bring, until it is over and nothing comes any more.
async fn follow(
    session: &AnyConnection,
    aliases: &BTreeMap<u64, usize>,
    names: &[&str],
    over: &Path,
) -> Result<Vec<Objects>> {
    let mut tracks = vec![Objects::new(); names.len()];
    let (tell, mut told) = mpsc::unbounded_channel();
    loop {
        tokio::select! {
            Some((alias, at, payload)) = told.recv() => {
                let track = *aliases.get(&alias).ok_or("an alias that was not given")?;
                tracks[track].insert(at, payload);
            }
            stream = session.accept_subgroup() => {
                let (header, reader) = stream?;
                let (alias, group, subgroup) = place(&header);
                tokio::spawn(read(reader, alias, group, subgroup, tell.clone()));
            }
            () = sleep(QUIET) => {
                // A machine that stands still brings nothing either.
                if over.exists() {
                    return Ok(tracks);
                }
            }
        }
    }
}

fn place(header: &AnySubgroupHeader) -> (u64, u64, u64) {
    macro_rules! of {
        ($($draft:ident),*) => {
            match header {
                $(AnySubgroupHeader::$draft(h) => {
                    (h.track_alias.into_inner(), h.group_id.into_inner(), h.subgroup_id.into_inner())
                })*
            }
        };
    }
    of!(Draft16, Draft18, Draft20, Draft21, Draft22)
}

async fn read(
    mut reader: AnySubgroupReader,
    alias: u64,
    group: u64,
    subgroup: u64,
    tell: mpsc::UnboundedSender<(u64, (u64, u64, u64), Vec<u8>)>,
) {
    while let Ok(object) = reader.read_object().await {
        if object.status.is_none() {
            let _ = tell.send((alias, (group, subgroup, object.object_id), object.payload));
        }
    }
}

async fn publish(
    mut session: AnyConnection,
    namespace: &TrackNamespace,
    file: &[u8],
) -> Result<()> {
    let (init, fragments) = parts(file)?;
    let catalog = serde_json::json!({
        "version": "draft-01",
        "initDataList": [{
            "id": "1",
            "type": "inline",
            "data": base64::engine::general_purpose::STANDARD.encode(init),
        }],
        "tracks": [{
            "name": "pictures",
            "packaging": "cmaf",
            "role": "video",
            "isLive": true,
            "renderGroup": 1,
            "codec": "avc1.42c01e",
            "initRef": "1",
        }],
    });
    let _offer = session.publish_namespace(namespace.clone()).await?;
    let mut asked = Vec::new();
    // The catalog first, and by it the track.
    for (alias, name) in [(1, "catalog"), (2, "pictures")] {
        let mut request = loop {
            let arrival = session.recv_inbound().await?;
            if let AnyArrival::Subscribe { request, message } = arrival {
                println!("asked for {name}: {:?}", message.fields().get("track_name"));
                break request;
            }
        };
        session.accept_subscribe(&mut request, VarInt::from_u64_moqt(alias)).await?;
        asked.push(request);
        if name == "catalog" {
            let mut group = session.open_subgroup(alias, 0, 0, 0).await?;
            group.write_object(0, catalog.to_string().as_bytes()).await?;
            group.finish().await?;
        }
    }
    for (number, fragment) in (0..).zip(fragments) {
        let mut group = session.open_subgroup(2, number, 0, 128).await?;
        group.write_object(0, fragment).await?;
        group.finish().await?;
        sleep(Duration::from_secs(1)).await;
    }
    session.close(0, b"the end");
    // What is under way has to get out.
    sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// A fragmented MP4: all before the first fragment, and the fragments.
fn parts(file: &[u8]) -> Result<(&[u8], Vec<&[u8]>)> {
    let (mut begins, mut at, mut end) = (Vec::new(), 0, 0);
    while let Some(head) = file.get(at..at + 8) {
        match &head[4..] {
            b"moof" => begins.push(at),
            b"mfra" => break,
            _ => {}
        }
        at += u32::from_be_bytes(head[..4].try_into()?).max(8) as usize;
        end = at;
    }
    let first = *begins.first().ok_or("no fragments")?;
    begins.push(end);
    let fragments = begins.windows(2).map(|pair| &file[pair[0]..pair[1]]).collect();
    Ok((&file[..first], fragments))
}

async fn say(mut session: AnyConnection, namespace: &TrackNamespace, _track: &str) -> Result<()> {
    let _offer = session.publish_namespace(namespace.clone()).await?;
    let alias = 1_u64;
    let mut asked = loop {
        if let AnyArrival::Subscribe { request, message } = session.recv_inbound().await? {
            println!("asked: {message:?}");
            break request;
        }
    };
    session.accept_subscribe(&mut asked, VarInt::from_u64_moqt(alias)).await?;
    for line in 0.. {
        let mut group = session.open_subgroup(alias, line, 0, 128).await?;
        group.write_object(0, format!("line {line}").as_bytes()).await?;
        group.finish().await?;
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

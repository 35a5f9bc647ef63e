//! Live inputs whose encoder publishes over MoQ.

use bytes::{BufMut, Bytes, BytesMut};
use moqt::data::{ObjectHead, Status, SubgroupHeader, SubgroupId, SubgroupWriter};
use moqt::properties::Value;
use moqt::session::{Command, Event};
use moqt::{Answer, Parameters, Properties, RequestId};

use super::duties::code;
use super::relay::give;
use super::rig::{Client, Rig, next_object, soon, track};

/// LOC-04
const TIMESTAMP: u64 = 0x10;
const VIDEO_CONFIG: u64 = 0x0d;
/// draft-18 §12.6
const DYNAMIC_GROUPS: u64 = 0x30;

const SPS: [u8; 27] = [
    0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03,
    0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
];
const PPS: [u8; 6] = [0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

fn record() -> Bytes {
    let mut record = BytesMut::from(&[1, 0x64, 0, 0x28, 0xff, 0xe1, 0, SPS.len() as u8][..]);
    record.extend_from_slice(&SPS);
    record.extend_from_slice(&[1, 0, PPS.len() as u8]);
    record.extend_from_slice(&PPS);
    // High profile: chroma format and bit depths (ISO 14496-15 §5.3.3.1.2).
    record.extend_from_slice(&[0xfd, 0xf8, 0xf8, 0]);
    record.freeze()
}

/// A picture that decoding can start with, in one NAL unit.
fn key_frame() -> Bytes {
    let mut picture = BytesMut::new();
    picture.put_u32(9);
    picture.extend_from_slice(&[0x65, 0x88, 0x84, 0, 1, 2, 3, 4, 5]);
    picture.freeze()
}

const CATALOG: &str = r#"{"version":"draft-01","tracks":[
    {"name":"camera","packaging":"loc","isLive":true,"role":"video","codec":"avc1.640028","width":1920,"height":1080}]}"#;

/// A group of one object.
async fn object(
    client: &Client,
    id: RequestId,
    group: u64,
    properties: &[(u64, Value<'_>)],
    payload: Bytes,
) {
    let alias = client.link.with(|session| session.open_data(id)).unwrap();
    let header = SubgroupHeader {
        alias,
        group,
        subgroup: SubgroupId::Zero,
        priority: None,
        properties: true,
        end_of_group: true,
        first_object: true,
    };
    let mut bytes = BytesMut::new();
    header.encode(client.link.version, &mut bytes).unwrap();
    let mut writer = SubgroupWriter::new(client.link.version, &header);
    let properties = Properties::from_pairs(properties).unwrap();
    let payload_length = payload.len() as u64;
    let head = ObjectHead { id: 0, properties, status: Status::Normal, payload_length };
    writer.object(&head, &mut bytes).unwrap();
    bytes.extend_from_slice(&payload);
    let mut stream = client.link.connection.open_uni().await.unwrap();
    stream.write(&mut [bytes.freeze()]).await.unwrap();
    stream.finish();
    client.command(Command::DataClosed { id });
}

#[tokio::test]
async fn d17_a_request_for_a_new_group_of_a_live_input_reaches_its_encoder() {
    let rig = Rig::new();
    let mut encoder = rig.client("/KEY").await;
    assert_eq!(code(&encoder.publish_namespace(&["default", "one"]).await), None);
    let (catalog, _) = give(&mut encoder, Properties::empty()).await;
    object(&encoder, catalog, 0, &[], CATALOG.as_bytes().into()).await;
    let dynamic = Properties::from_pairs(&[(DYNAMIC_GROUPS, Value::Number(1))]).unwrap();
    let (camera, _) = give(&mut encoder, dynamic).await;
    let record = record();
    let properties = [(VIDEO_CONFIG, Value::Bytes(&record)), (TIMESTAMP, Value::Number(1_000_000))];
    object(&encoder, camera, 7, &properties, key_frame()).await;
    let viewer = rig.client("/").await;
    let wishes = Parameters { rendezvous_timeout_ms: Some(10_000), ..next_object() };
    let one = viewer.subscribe(track(&["default", "one"], "video"), wishes).await;
    let Answer::Ok { parameters, properties } = one.answer else { panic!("{:?}", one.answer) };
    assert!(properties.dynamic_groups(), "what the encoder can do is said of what is watched");
    // Asked in the numbers of what is watched, and passed on in those of the encoder: once, whoever asks.
    let largest = parameters.largest.map_or(0, |largest| largest.group);
    for group in [largest + 1, u64::MAX >> 8, 0] {
        let wanted = Parameters { new_group: Some(group), ..Parameters::default() };
        viewer.command(Command::Update { id: one.id, parameters: wanted });
    }
    let asked = soon("the encoder to be asked", async {
        loop {
            if let Event::Update { id, parameters, .. } = encoder.event().await {
                encoder.command(Command::AnswerUpdate { id, answer: Answer::ok() });
                return (id, parameters.new_group);
            }
        }
    });
    assert_eq!(asked.await, (camera, Some(8)));
}

//! From `connect` to the goodbye.

use bytes::Bytes;

use super::{ClientError, Config, Event, Refused, Stage};
use crate::amf0::Value;
use crate::chunk::Message;
use crate::connection::{Connection as Wire, Incoming};
use crate::message::{self, Command, Kind, type_id};

type Connection = Wire<Event>;

/// Transactions; `connect` is 1 by RTMP 1.0 §7.2.1.1. What wants no answer is never waited for.
const CONNECT: f64 = 1.0;
const RELEASE: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
const CREATE_STREAM: f64 = 4.0;
const PUBLISH: f64 = 5.0;
const FC_UNPUBLISH: f64 = 6.0;
const DELETE_STREAM: f64 = 7.0;

/// Chunk streams of media, so that headers compress well.
const AUDIO_CHUNKS: u32 = 4;
const DATA_CHUNKS: u32 = 5;
const VIDEO_CHUNKS: u32 = 6;

pub(super) enum Session {
    Connecting,
    Creating,
    Offered { stream_id: u32 },
    Live { stream_id: u32 },
}

impl Session {
    /// Says `connect`.
    pub(super) fn connect(config: &Config, connection: &mut Connection) -> Session {
        connection.set_chunk_size();
        let mut object = vec![
            ("app", Value::text(config.target.app.expose())),
            ("type", Value::text("nonprivate")),
            ("flashVer", Value::text(&config.flash_ver)),
            ("tcUrl", Value::text(config.target.tc_url.expose())),
        ];
        if !config.four_ccs.is_empty() {
            let list = config.four_ccs.iter().map(Value::text).collect();
            object.push(("fourCcList", Value::StrictArray(list)));
        }
        let object = object.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        connection.command(0, "connect", CONNECT, &[Value::Object(object)]);
        Session::Connecting
    }

    pub(super) fn stage(&self) -> Stage {
        match self {
            Session::Connecting => Stage::Connect,
            Session::Creating => Stage::CreateStream,
            Session::Offered { .. } => Stage::Publish,
            Session::Live { .. } => Stage::Live,
        }
    }

    pub(super) fn read(
        &mut self,
        incoming: &Incoming,
        config: &Config,
        connection: &mut Connection,
    ) -> Result<(), ClientError> {
        // Media towards a publisher means nothing.
        let Incoming::Command(command) = incoming else {
            return Ok(());
        };
        match (command.name.as_str(), command.transaction) {
            ("_result", CONNECT) if matches!(self, Session::Connecting) => {
                let name = [Value::Null, Value::text(config.target.name.expose())];
                connection.command(0, "releaseStream", RELEASE, &name);
                connection.command(0, "FCPublish", FC_PUBLISH, &name);
                connection.command(0, "createStream", CREATE_STREAM, &[Value::Null]);
                *self = Session::Creating;
            }
            ("_result", CREATE_STREAM) if matches!(self, Session::Creating) => {
                let stream_id = command.argument(0).as_number().unwrap_or(1.0) as u32;
                let name = Value::text(config.target.name.expose());
                // RTMP 1.0 §7.2.2.6
                connection.command(
                    stream_id,
                    "publish",
                    PUBLISH,
                    &[Value::Null, name, Value::text("live")],
                );
                *self = Session::Offered { stream_id };
            }
            ("_error", transaction) if self.awaits(transaction) => {
                return Err(self.refused(command));
            }
            ("onStatus", _) => self.on_status(command, connection)?,
            ("close", _) => return Err(ClientError::Closed(self.stage())),
            // `onBWDone`, `onFCPublish`, answers to what we don't wait for.
            _ => {}
        }
        Ok(())
    }

    /// Whether an error to that transaction ends us. Many servers know no `releaseStream`.
    fn awaits(&self, transaction: f64) -> bool {
        match self {
            Session::Connecting => transaction == CONNECT,
            Session::Creating => transaction == CREATE_STREAM,
            Session::Offered { .. } => transaction == PUBLISH,
            Session::Live { .. } => false,
        }
    }

    fn on_status(
        &mut self,
        command: &Command,
        connection: &mut Connection,
    ) -> Result<(), ClientError> {
        let info = command.argument(0);
        let text = |name| info.get(name).and_then(Value::as_str).unwrap_or_default();
        match (text("level"), text("code")) {
            // `BadName` comes as a mere status from some servers.
            ("error", _) | (_, "NetStream.Publish.BadName" | "NetStream.Publish.Denied") => {
                return Err(self.refused(command));
            }
            (_, "NetStream.Publish.Start") => {
                if let Session::Offered { stream_id } = *self {
                    *self = Session::Live { stream_id };
                    connection.event(Event::Publishing);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn refused(&self, command: &Command) -> ClientError {
        let info = command.argument(0);
        let text = |name, instead: &str| match info.get(name).and_then(Value::as_str) {
            Some(text) if !text.is_empty() => text.to_owned(),
            _ => instead.to_owned(),
        };
        ClientError::Refused(Refused {
            code: text("code", "no code"),
            description: text("description", "without a reason"),
            stage: self.stage(),
        })
    }

    pub(super) fn send(
        &self,
        kind: Kind,
        timestamp: u32,
        payload: Bytes,
        connection: &mut Connection,
    ) -> Result<(), ClientError> {
        let &Session::Live { stream_id } = self else {
            return Err(ClientError::Misuse("media before the server has agreed"));
        };
        let (chunk_stream, type_id, payload) = match kind {
            Kind::Audio => (AUDIO_CHUNKS, type_id::AUDIO, payload),
            Kind::Video => (VIDEO_CHUNKS, type_id::VIDEO, payload),
            Kind::Data => (DATA_CHUNKS, type_id::DATA, message::with_set_data_frame(&payload)),
        };
        if payload.len() > MESSAGE_BYTES_MAX {
            return Err(ClientError::Misuse("a message of more than 24 bits of length"));
        }
        connection.message(&Message { chunk_stream, stream_id, type_id, timestamp, payload });
        Ok(())
    }

    /// As encoders do: by name, then by number.
    pub(super) fn goodbye(&self, config: &Config, connection: &mut Connection) {
        if let Session::Offered { stream_id } | Session::Live { stream_id } = *self {
            let name = Value::text(config.target.name.expose());
            connection.command(0, "FCUnpublish", FC_UNPUBLISH, &[Value::Null, name]);
            let id = Value::Number(f64::from(stream_id));
            connection.command(0, "deleteStream", DELETE_STREAM, &[Value::Null, id]);
        }
    }
}

/// What the header's 24 bits can say.
const MESSAGE_BYTES_MAX: usize = 0xff_ffff;

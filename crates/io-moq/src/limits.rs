//! The numbers that protect the MoQ listener, each with its reason.

use std::time::Duration;

/// A peer must finish its QUIC and TLS handshake within this.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// Sockets of one port, one a core. Each has a buffer of 3 MB for what comes in at once.
pub const SOCKETS_MAX: u8 = 16;

/// Connections whose handshake has not begun to be answered, of all addresses, at a socket: they fall on sockets by chance.
pub const INCOMING: usize = 1_024;

/// Bytes that one of these has sent already, the first included.
pub const EARLY_BYTES: u64 = 64 << 10;

/// And all of them, at all sockets.
pub const EARLY_BYTES_ALL: u64 = 16 << 20;

/// Connections that have not said SETUP, from all addresses.
pub const HALF_OPEN_MAX: usize = 2_000;

/// Connections that have not said SETUP, from all addresses, above which who knocks has to show first that it gets what is sent
/// to its address (a Retry, RFC 9000 §8.1.2). That costs a round trip, so not before there are more than a crowd that comes at
/// once has for some moments; and it keeps the rest of [`HALF_OPEN_MAX`] for addresses that exist.
pub const HALF_OPEN_UNPROVED_MAX: usize = 500;

/// Connections that have not said SETUP, from one address: an office behind one address has fewer. Those whose address anybody may
/// have written on his packets are counted apart: they make who has the address show that it is his, and do not keep him out.
pub const HALF_OPEN_PER_ADDRESS_MAX: usize = 64;

/// Connections at one time. Each costs some 60 KB while it waits for something: 1.2 GB of who only waits.
pub const CONNECTIONS_MAX: usize = 20_000;

/// Tickets that resume a session, with 0-RTT: each connection is given two of them, so all of [`CONNECTIONS_MAX`] can come back at
/// once. Each costs some 400 bytes: 16 MB, once so many have been here.
pub const SESSIONS_KEPT: usize = 40_000;

/// A session in which nothing is open is let go when nothing was asked for so long. Twice what a silent peer gets: who waits for a
/// broadcast to begin asks again every few seconds, and who waits for a click of somebody is back after two round trips.
pub const NOTHING_ASKED: Duration = Duration::from_secs(60);

/// How often that is looked at.
pub const NOTHING_ASKED_LOOK: Duration = Duration::from_secs(15);

/// Request streams that a peer may have open. A player has one for each of a dozen tracks, a relay many
/// more; each costs a few hundred bytes.
pub const REQUEST_STREAMS: u32 = 256;

/// The same before it has any: more than most players ask for, and room for that is laid out for each connection. Who has
/// half of what it may open has twice as much from then on.
pub const REQUEST_STREAMS_FIRST: u32 = 32;

/// Data streams that a peer may have open to us: subgroups of all its tracks that are still arriving.
pub const DATA_STREAMS: u32 = 64;

/// The same before it has any: a viewer has its control stream and those of HTTP/3.
pub const DATA_STREAMS_FIRST: u32 = 16;

/// What one stream may have in flight to us: a key frame of 25 Mbit/s video, more than a
/// bandwidth-delay product of it.
pub const STREAM_WINDOW: u32 = 1_250_000;

/// What all streams of a connection may have in flight to us, from who publishes: that they are let in is known by then.
pub const RECEIVE_WINDOW: u32 = 8 << 20;

/// The same of all others, of whom requests come, and what they say in a chat. What comes out of order is held, and most of an
/// address's share of connections may be up to that.
pub const RECEIVE_WINDOW_FIRST: u32 = 256 << 10;

/// What is held of data streams, all of a connection, before it is known whose they are: the message that says so is a moment
/// later on another stream. What is read makes room in QUIC's window, so that such streams never stand in that message's way.
pub const AHEAD_BYTES_MAX: usize = 2 << 20;

/// The same of all connections together: of 64 that come at once and have as much as they may. Above it such streams are stopped.
pub const AHEAD_BYTES_ALL_MAX: usize = 128 << 20;

/// A piece of a stream that is shorter is copied where it is kept: as it came, it holds the packet that it came in.
pub const SHORT_BYTES: usize = 1 << 10;

/// What a piece that is kept costs beside its bytes.
pub const PIECE_BYTES: usize = 256;

/// What we may have handed to QUIC and unacknowledged at most: two bandwidth-delay products of 80 Mbit/s over 100 ms.
pub const SEND_WINDOW: u64 = 2 << 20;

/// What we may have handed over at least, on the slowest of paths: a few packets behind those that are under way. A
/// quarter of a second of 1 Mbit/s, in which nothing newer comes first.
pub const SEND_WINDOW_MIN: u64 = 48 << 10;

/// How often it is looked how much that is between the two: a round trip of a near peer.
pub const SEND_WINDOW_LOOK: Duration = Duration::from_millis(20);

/// Streams that try before a less urgent one does when QUIC takes more. Those behind them have no room either, or enough of
/// it; and asking all would cost the square of how many wait.
pub const TURNS_ASKED: usize = 8;

/// What is sent before the first acknowledgement: the key frame that a viewer begins with, in one round trip and not
/// three. RFC 9002 §7.2 says 14,720; those who deliver video have begun with about three times that for years.
pub const INITIAL_WINDOW: u64 = 40_000;

/// Datagrams that have come and wait, in bytes.
pub const DATAGRAM_BUFFER: usize = 256 << 10;

/// The same of those that QUIC has to send, where nothing overtakes them, and which it sends before
/// all streams: a dozen packets.
pub const DATAGRAM_SEND_BUFFER: usize = 16 << 10;

/// Datagrams of one subscription that wait for more urgent streams: more of them are dropped.
pub const DATAGRAMS_HELD_MAX: usize = 64;

/// And for so long: who sends in datagrams would rather lose some than have them late.
pub const DATAGRAM_HELD: Duration = Duration::from_millis(500);

/// Packets after which a peer answers. One answer for two packets is a tenth of all work.
pub const ACK_THRESHOLD: u32 = 20;

/// A word now and then keeps a mapping in a router alive (30 s is the shortest that is common).
pub const KEEP_ALIVE: Duration = Duration::from_secs(8);

/// A peer that is not heard of for so long is gone.
pub const IDLE: Duration = Duration::from_secs(30);

/// The rest of a head on a data stream, that of the stream or of an object, comes within this after its beginning: as long as
/// a peer may be silent. Mostly both are in one packet.
pub const HEAD_MAX: Duration = Duration::from_secs(30);

/// Objects in datagrams that wait for who takes them, all of a connection, with [`PIECE_BYTES`] for each: a second of 8 Mbit/s. While
/// it is asked whether somebody may publish, nobody takes them; the oldest are dropped for those that come.
pub const DATAGRAMS_WAITING_MAX: usize = 1 << 20;

/// So much of them one track may have, whatever others hold: a dozen packets, which is more than come in a turn of its task.
pub const DATAGRAMS_EACH: usize = 16 << 10;

/// Bytes read from a stream at once.
pub const READ_BYTES: usize = 64 << 10;

/// What a peer has sent before it ended the connection is taken up after that, in so many turns of its task: a stream is taken,
/// its header read, its objects, and what they are part of.
pub const LAST_TURNS: u32 = 32;

/// After a close the connection stays for its last words to arrive; then it is forgotten.
pub const CLOSE_LINGER: Duration = Duration::from_millis(500);

/// Messages on one request stream, or on the control stream, that wait for a peer which does not read them. A namespace
/// subscription may have a thousand names to tell at once.
pub const QUEUED_ANSWERS_MAX: usize = 4_096;

/// The same on all streams of a connection together, in bytes, each with [`PIECE_BYTES`] more. All broadcasts of a node, told at
/// once, have a fifth of it; a message may have 64 KiB, of a track with as many properties.
pub const QUEUED_ANSWERS_BYTES_MAX: usize = 4 << 20;

/// A subscriber to whom an object can't be sent for so long loses its group, unless it is the newest. Less
/// than what memory holds of any track, more than a hiccup of a mobile network.
pub const LAG_MAX: Duration = Duration::from_secs(5);

/// The same where OBJECT_DELIVERY_TIMEOUT asks for more, of all but the newest group: what a slow subscriber holds is held beyond what
/// memory keeps of a track, for as long as he reads nothing.
pub const DELIVERY_MAX: Duration = Duration::from_secs(30);

/// Streams of one subscription at once: a group each, with two subgroups or three. A subscriber that has
/// so many open is so many groups behind.
pub const STREAMS_PER_SUBSCRIPTION: usize = 64;

/// Fills of one subscription at once (draft-21 §3.4): each is a fetch. A player asks for one when it comes, and
/// for one more when it seeks; who asks for more is refused, which ends the subscription.
pub const FILLS_PER_SUBSCRIPTION: usize = 8;

/// Ranges in the filters of one request (MAX_FILTER_RANGES): a handful of sets, each of some subgroups or properties. All of them
/// are looked at for each object.
pub const FILTER_RANGES_MAX: u64 = 32;

/// Ranges of the past that are sent over one connection at once, for FETCHes and fills: more of them wait for these. A fraction
/// of what a node reads of recordings at once.
pub const PAST_PER_CONNECTION: usize = 24;

/// The longest that a FETCH waits for who can bring what is not in memory; and for a peer that takes nothing of the past.
pub const FETCH_MAX: Duration = Duration::from_secs(30);

/// An answer of a publisher to a FETCH that nobody reads on for so long is given up, and the rest asked for again by who does: it holds
/// room of its connection, and a place of those that FETCHes have. Two of a player's reads.
pub const FETCH_UNREAD_MAX: Duration = Duration::from_secs(1);

/// A stream of the past is not reset before its header is so old: time for a peer to get it, also if it is lost once and sent again.
pub const HEADER_ARRIVES: Duration = Duration::from_secs(1);

/// An object of a publisher's answer to a FETCH, which is taken when all of it is here: what a track may have. The answer ends with a
/// larger one.
pub const FETCHED_OBJECT_BYTES_MAX: u64 = 16 << 20;

/// Namespaces below the prefix of a SUBSCRIBE_NAMESPACE or SUBSCRIBE_TRACKS: twice as many as there are broadcasts on a node, unless
/// its owner wants more of those, and no more than may be told at once ([`QUEUED_ANSWERS_MAX`]).
pub const ANNOUNCED_MAX: usize = 4_000;

/// PUBLISHes of a session that have no answer yet, of all its SUBSCRIBE_TRACKS; more of them wait for these. All tracks of some
/// broadcasts with their levels, so that a round trip is enough for most who ask.
pub const OFFERS_OPENING_MAX: usize = 64;

/// The longest that a PUBLISH of ours waits for its answer; then it is taken back, and its place is another one's: as long as we
/// wait for a publisher ([`SUBSCRIBE_ANSWER_MAX`]).
pub const OFFER_ANSWER_MAX: Duration = Duration::from_secs(35);

/// Tracks of a broadcast that are offered for one SUBSCRIBE_TRACKS.
pub const OFFERED_TRACKS_MAX: usize = 256;

/// The longest that a SUBSCRIBE waits for its publisher (RENDEZVOUS_TIMEOUT).
pub const RENDEZVOUS_MAX: Duration = Duration::from_secs(30);

/// The longest that a publisher may take to answer a SUBSCRIBE of ours: it waits no longer than [`RENDEZVOUS_MAX`] for who it asks
/// itself, and its answer has to come here.
pub const SUBSCRIBE_ANSWER_MAX: Duration = Duration::from_secs(35);

/// Whoever has a track that is over says so right behind the answer to a SUBSCRIBE. Where one is over here with the same end, that is
/// waited for so long, before what has come of it makes room for another one of its name.
pub const TRACK_OVER_WAIT: Duration = Duration::from_millis(500);

/// A relayed track that nobody reads is paused upstream after so long: a page that is loaded again, or a player that moves to another
/// relay, is back by then.
pub const FORWARD_LINGER: Duration = Duration::from_secs(10);

/// The longest that who subscribes to a track which is paused upstream waits for its publisher to say that it goes on, and where it is:
/// some round trips of a far peer. Then it begins with what is known here.
pub const RESUME_MAX: Duration = Duration::from_secs(2);

/// An update of a subscription of ours for which its publisher has no room (MAX_REQUEST_UPDATES) is tried again when it has answered
/// one, or after so long.
pub const UPDATE_AGAIN: Duration = Duration::from_secs(1);

/// What a relayed track had before it was asked for is asked for again after so long, if its publisher could not bring it then, and
/// each time after twice as much; or when it says so.
pub const BEFORE_AGAIN: Duration = Duration::from_secs(1);

/// So often: then a minute is over, and a newer group has begun, or it is not to be had.
pub const BEFORE_TRIES_MAX: u32 = 6;

/// Namespaces that one connection publishes in.
pub const NAMESPACES_MAX: usize = 16;

/// Tracks that one connection publishes in a namespace, besides those of its catalog.
pub const PUBLISHED_TRACKS_MAX: usize = 64;

/// Tracks of one connection that its catalog has taken out, each time: somebody who turns a camera off and on for an evening. Each
/// is read apart from then on, so none comes any more.
pub const REMOVED_TRACKS_MAX: usize = 256;

/// Media of one connection that is on its way from streams to frames.
pub const STAGING_BYTES: usize = 64 << 20;

/// An object of a live input waits so long for those before it in its group, of which nothing has come: a packet that was lost twice
/// on the way from a far encoder. What begins later is passed over.
pub const MISSING_WAIT: Duration = Duration::from_millis(500);

/// What is under way of a live input whose publisher has withdrawn it is taken for so long: it was sent before, on other streams.
pub const GONE_LINGER: Duration = Duration::from_secs(2);

/// Objects that could not be read and were passed over, changes of the catalog that do not apply among them, in
/// [`media::limits::UNREADABLE_WITHIN`], after which a publisher is shown the door.
pub const UNREADABLE_MAX: u64 = 1_000;

/// Video tracks of one publisher: ladders have three to six steps.
pub const VIDEO_TRACKS_MAX: u8 = 8;

/// Audio tracks of one publisher.
pub const AUDIO_TRACKS_MAX: u8 = 16;

/// How often who watches is looked at again. Together with what is remembered of the answer (`POLICY_AGE` in `access`, half a
/// second) a token that ends, or is taken back, ends its view within a second, on the way to its viewer too.
pub const GATE_AGAIN: Duration = Duration::from_millis(400);

/// The same where the listener is told what changes, besides that and the end of what is shown: an address may move, and a clock be set.
pub const GATE_SELDOM: Duration = Duration::from_secs(5);

/// Namespaces of one request that are looked at then, of those that a token opens, in turn: the rest a moment later. Most tokens open
/// one.
pub const GATE_NAMES: usize = 64;

/// The same of those that were open to everybody when they were told, whose owner may lock them, and of those that were locked and
/// may be opened: who has a few below his prefix hears of it as soon, and strangers who have all of a node cost it little.
pub const GATE_NAMES_OPEN: usize = 8;

/// Looks in a row that nobody could answer, because the database is busy: a view goes on for so long, as an answer over HTTP does.
pub const GATE_UNKNOWN_MAX: u32 = 12;

/// So long what was shown before is borne with, if it ends while an update is looked at that shows
/// something else.
pub const SHOWN_LOOK_MAX: Duration = Duration::from_secs(1);

/// Tokens of one message that are looked at: who needs more than a few has none that is good.
pub const TOKENS_MAX: usize = 8;

/// Tokens of a session that has shown a wrong one that are looked at whatever others of its address guess: who has shown an old
/// one first has his good one read. A guesser has so many signatures more for a handshake.
pub const LOOKS_OF_GUESSERS: usize = 1;

/// Wrong tokens of a session that are known again: those of two messages.
pub const WRONG_TOKENS_KEPT: usize = 2 * TOKENS_MAX;

/// Namespaces of one upstream that are taken: half of the broadcasts that a node may have.
pub const UPLINK_NAMESPACES_MAX: usize = 1_000;

/// Namespaces of one upstream beyond those, which wait until others of it go: with them as many as a node of ours tells
/// ([`ANNOUNCED_MAX`]), and more.
pub const UPLINK_BEYOND_MAX: usize = 4_000;

/// Namespaces of all upstreams together that are carried at once: the other half is for who publishes here. More of them wait for
/// those that go.
pub const UPLINKS_CARRIED_MAX: usize = 1_000;

/// Namespaces that an upstream tells of or withdraws, at once: twice what a node of ours tells who connects ([`ANNOUNCED_MAX`]).
pub const UPLINK_CHANGES_BURST: u32 = 8_000;

/// And each second from then on: the inputs of a large node, all of them lost and back within some seconds. Beyond that the link ends.
pub const UPLINK_CHANGES_PER_S: u32 = 200;

/// SUBSCRIBEs to one upstream that have no answer yet; more of them wait for these. Names may be made up, and each costs a request
/// there: so many are answered in a round trip, and leave three quarters of what it takes to tracks that there are.
pub const UPLINK_ASKS_MAX: usize = 64;

/// The same of one broadcast: names that are made up in one have those of others wait only where there are some such. All tracks of
/// a broadcast with its levels.
pub const UPLINK_ASKS_EACH: usize = 16;

/// FETCHes to one upstream whose answers are not here yet; more of them wait for these. Ranges may be made up as well: so many leave
/// what it takes to tracks, and it sends no more of them at once.
pub const UPLINK_FETCHES_MAX: usize = PAST_PER_CONNECTION;

/// What all streams of a link may have in flight to us. FETCHes that nobody reads on hold [`STREAM_WINDOW`] each, for as long as
/// [`FETCH_UNREAD_MAX`]: what is live has [`RECEIVE_WINDOW`] beside all of them, as it has from any other publisher. 38 MB.
pub const UPLINK_RECEIVE_WINDOW: u32 = RECEIVE_WINDOW + UPLINK_FETCHES_MAX as u32 * STREAM_WINDOW;

/// A track of an upstream that is paused there for so long is subscribed to no more, until somebody reads it again: each costs one of
/// the requests that the upstream takes.
pub const UPLINK_PAUSED_MAX: Duration = Duration::from_secs(60);

/// Request streams that a peer may have open who says that it is a node: what all viewers of it want comes over one connection.
pub const NODE_REQUEST_STREAMS: u32 = 1_024;

/// Data streams that an upstream may have open to us.
pub const UPLINK_DATA_STREAMS: u32 = 1_024;

/// An upstream that is not heard of for so long is lost: viewers have run dry by then.
pub const UPLINK_IDLE: Duration = Duration::from_secs(10);

/// Something is said to it so often.
pub const UPLINK_KEEP_ALIVE: Duration = Duration::from_secs(3);

/// How long it takes at first until an upstream that was lost is connected to again; each time twice as long, with a quarter more
/// or less by chance, so that not all who lost it come at once.
pub const UPLINK_AGAIN: Duration = Duration::from_millis(500);

/// At most.
pub const UPLINK_AGAIN_MAX: Duration = Duration::from_secs(20);

/// An upstream that was there for so long is tried as if it had not been lost before; and so seldom one is followed at once to
/// where it goes on.
pub const UPLINK_STEADY: Duration = Duration::from_secs(60);

/// How often an upstream is asked whether it takes the token that its address has: one ends in the middle of the night.
pub const UPLINK_TOKEN_LOOK: Duration = Duration::from_secs(30);

/// One that refuses us may say when it is to be asked again: in so long at most.
pub const UPLINK_REFUSED_MAX: Duration = Duration::from_secs(300);

/// Reasons for which an upstream is not there that are not said again while it stays away.
pub const UPLINK_REASONS_KEPT: usize = 8;

/// What another upstream, or somebody here, had is taken so long after it went: what has ended goes at all of them in a moment, and
/// viewers are not told of it again.
pub const UPLINK_SETTLE: Duration = Duration::from_millis(500);

/// What an upstream withdraws goes on for so long at most, until the last of it has come: the word overtakes what is on its way.
pub const UPLINK_LAST_MAX: Duration = Duration::from_secs(5);

/// How long an upstream that asks us to leave is kept, until all that it brings comes from elsewhere: it gives us as long as it likes,
/// and a group may last for ten seconds.
pub const UPLINK_MOVE_MAX: Duration = Duration::from_secs(30);

/// What an upstream brought that is lost waits for so long for who brings it next, as it does for an encoder: who is back within ten
/// seconds, or was cut off, is connected to by then, and who watches has run dry.
pub const UPLINK_HELD: Duration = Duration::from_secs(15);

/// A track of it that has all come from elsewhere is taken from it for so long still: a group of which the first packet was lost begins
/// behind the next one.
pub const UPLINK_LATE: Duration = Duration::from_secs(2);

/// Connections to an upstream that are kept so, or because they are lost, beside the one that goes on.
pub const UPLINKS_GOING_MAX: usize = 2;

/// How long a stop waits until upstreams have heard the goodbye.
pub const UPLINK_LEAVE: Duration = Duration::from_secs(2);

/// What came over a node waits so long for each of them before it is taken: the shortest way has been told by then, and is the
/// one that is taken.
pub const UPLINK_HOP: Duration = Duration::from_millis(200);

/// A namespace of an upstream that could not be taken is looked at again so often.
pub const UPLINK_LOOK: Duration = Duration::from_secs(5);

/// NEW_GROUP_REQUESTs that wait for a publisher to be asked: each is a subscriber that waits for its track.
pub const WANTED_MAX: usize = 1_000;

/// Broadcasts below one published open namespace that nobody has published themselves: each is a name that somebody asks for,
/// and may have made up, until its publishers have said what they know of it. More than who takes part in a large room.
pub const UNTOLD_PER_NAMESPACE_MAX: usize = 128;

/// The same below all of them. They count among the broadcasts of the node: a quarter of those, so that names that are made up
/// leave room for live inputs.
pub const UNTOLD_MAX: usize = 500;

/// A listener that stops asks its peers to leave, and waits so long for those to whom something is still sent, if it has told them
/// where it goes on: they connect there and ask for the same, which takes some round trips, and what is under way comes to its end.
pub const DRAIN: Duration = Duration::from_secs(9);

/// The same with nowhere to send them to, and for who has nothing open: so long that it is read. What is live ends with the node.
pub const DRAIN_HERE: Duration = Duration::from_millis(500);

/// How often it is looked at who has left.
pub const DRAIN_LOOK: Duration = Duration::from_millis(50);

/// Tracks that are over and whose numbers are kept: a day of a station with a dozen broadcasts, in a megabyte. The one that
/// was used longest ago is forgotten.
pub const TRACKS_REMEMBERED_MAX: usize = 1_000;

/// Bytes of one session's log: an hour of a player that gets 75 objects a second, or a minute of a relay's.
pub const QLOG_FILE_BYTES_MAX: usize = 64 << 20;

/// Logs in the folder: the oldest goes when one more begins.
pub const QLOG_FILES_MAX: usize = 100;

/// Logs that are written at once, each an open file.
pub const QLOG_OPEN_MAX: usize = 100;

/// Events that wait for the disk, of all sessions.
pub const QLOG_EVENTS_QUEUED_MAX: usize = 65_536;

/// Bytes of events that wait for the disk: a second of a busy one. More are lost, and counted.
pub const QLOG_QUEUED_BYTES_MAX: usize = 8 << 20;

/// How often it is written down how a session's path does: some round trips of a far peer.
pub const QLOG_METRICS_EVERY: Duration = Duration::from_millis(500);

/// What must be there before what is live is asked for with this: more urgent than what is asked for without a word, which is
/// 128.
pub const PAST_PRIORITY: u8 = 127;

/// What a relay fetches so is as urgent as what is live after that time, if there is more of it: a catalog comes in a round trip, a
/// group of pictures over a thin path would hold up what others watch.
pub const HURRY_MAX: Duration = Duration::from_millis(250);

/// And once in so long: who watches all levels of a ladder has each of them fetched.
pub const HURRY_EVERY: Duration = Duration::from_secs(2);

/// A group whose beginning was fetched is open for so long beside a newer one: what is under way to readers arrives, and who
/// reads group after group goes on.
pub const BEGUN_LINGER: Duration = Duration::from_secs(2);

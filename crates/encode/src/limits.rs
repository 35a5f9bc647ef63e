//! Numbers that protect the server from its encoders, and the machine from both.

use std::time::Duration;

/// One coded picture on the wire, both ways: as large as an object of the spine may be.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// A message that is no picture: parameter sets, words, the list of what is wanted.
pub const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// Outputs of one decode. A ladder has fewer rungs; each costs a picture of memory and an encoder.
pub const OUTPUTS_MAX: usize = 16;

/// Words of an encoder: what it says when it fails, or of itself.
pub const WORDS_BYTES_MAX: usize = 1_024;

/// Pictures that are wider or higher are not decoded: 8K is 7680 x 4320, and a few more for those who crop.
pub const SIDE_MAX: u32 = 8_192;

/// Pixels of a picture that is decoded: 8K. A decoder holds up to 17 of them, 12 bytes a pixel at worst.
pub const PIXELS_MAX: u64 = 8_192 * 4_352;

/// Pixels up to which pictures are decoded that are larger than what their stream was said to have, by which the memory of a job is
/// reckoned: those of encoders that go from one size to another and say so in nothing but the stream.
pub const PIXELS_UNSTATED: u64 = 1_920 * 1_088;

/// Pictures of a side below this are not encoded: a macroblock.
pub const SIDE_MIN: u32 = 16;

/// Frames a second that a level is encoded for; a stream that states more is not believed.
pub const FRAME_RATE_MAX: u32 = 240;

/// Bytes that an encoder process may have mapped: an 8K picture, its references, and three rungs fit. Where an encoder in hardware is configured,
/// of memory that it can write and shares with nobody, which a device has little of.
pub const PROCESS_BYTES_MAX: u64 = 4 << 30;

/// Bytes that a job may need by what is known of it before: of what a process may have mapped, its threads' heaps and stacks
/// take the rest, which they hardly use.
pub const JOB_BYTES_MAX: u64 = PROCESS_BYTES_MAX - (512 << 20);

/// What an encoder process takes before it has pictures: measured 60 MB, with libraries and the pipes' buffers.
pub const JOB_BASE_BYTES: u64 = 96 << 20;

/// Pictures of the source that a process holds: 17 of the decoder, those that wait for the first level, and some in hand.
pub const PICTURES_OF_SOURCE: u64 = 24;

/// Pictures of its own size that a level holds: those of libx264, those that wait for the next level, and one in hand.
pub const PICTURES_OF_LEVEL: u64 = 8;

/// What a job of sound takes: it has no pictures.
pub const SOUND_JOB_BYTES: u64 = 64 << 20;

/// Samples a second of sound that is decoded: from telephones to studios. What lies beyond is nobody's sound.
pub const SOUND_RATES: std::ops::RangeInclusive<u32> = 7_350..=192_000;

/// Channels of sound that is decoded: 7.1.
pub const SOUND_CHANNELS_MAX: u8 = 8;

/// Sound that is decoded before a segment begins, so that decoder and encoder are where they would be had they never
/// stopped: 80 ms for Opus (RFC 7845 §4.2), the frames that an MP3 may have bits in (511 bytes of 32 kbit/s), and those that
/// the level begins earlier.
pub const SOUND_PRE_ROLL: Duration = Duration::from_millis(500);

/// A hole in sound is silence up to this long: an encoder that is away for longer is gone, and segments end then.
pub const SOUND_HOLE_MAX: Duration = Duration::from_secs(60);

/// Files that an encoder process may have open: its pipes and what libraries read at their start.
pub const PROCESS_FILES_MAX: u64 = 32;

/// By how much an encoder process is nicer than the server: those who watch the original come first.
pub const PROCESS_NICE: i32 = 5;

/// How much sooner than others an encoder process is ended where the machine has no memory left, of 1000
/// (`oom_score_adj`): what it makes can be made again, and the server goes on.
pub const PROCESS_OOM_SCORE: i32 = 500;

/// How long an encoder program may take to say what it is: at once, where the machine has nothing else to do.
pub const VERSION_DEADLINE: Duration = Duration::from_secs(20);

/// Starts of encoders that fail in a row before the program is looked for: a job and its second attempt.
pub const STARTS_FAILED: u32 = 2;

/// How long after it was not there the program is looked for again: one that is being replaced is back by then.
pub const PROGRAM_AGAIN: Duration = Duration::from_secs(5);

/// The same of one that is not there each time: twice as long each time, and never longer.
pub const PROGRAM_AGAIN_MAX: Duration = Duration::from_secs(30);

/// How long an encoder that is none of the processor's may take to show that it works: a driver takes its time at first.
pub const TRY_DEADLINE: Duration = Duration::from_secs(15);

/// How long an encoder that is none of the processor's and has failed is left alone before it is tried again: a driver that is
/// being reset is back by then.
pub const HARDWARE_AGAIN: Duration = Duration::from_secs(30);

/// The same of one that fails each time: twice as long each time, and never longer.
pub const HARDWARE_AGAIN_MAX: Duration = Duration::from_secs(1_800);

/// Rungs of a ladder: from 144p to 4320p there are nine in use.
pub const LADDER_MAX: usize = 12;

/// Jobs of a kind (live, the past, ahead, pictures) that wait for a worker, of all inputs together: beyond it viewers get
/// "busy" at once.
pub const WAITING_MAX: usize = 256;

/// Those of them who seek from one address (of IPv6, one /64): a quarter, so that others find room. They take turns with others.
pub const WAITING_PER_ADDRESS_MAX: usize = 64;

/// Addresses that ask for one segment or picture while it waits, of which each is known. What more of them ask for is many people's,
/// and waits for nobody's turn.
pub const ASKERS_MAX: usize = 16;

/// How long a job waits for a worker: longer than a segment, and its viewer has run dry.
pub const WORKER_WAIT: Duration = Duration::from_secs(4);

/// How long nothing may be heard of an encoder that has something to do before it is killed. It says so when it has taken
/// a frame, and all of them may take [much longer](JOB_MIN): one of 8K is seconds on a busy machine, a hostile one is for ever.
pub const WORKER_SILENT_MAX: Duration = Duration::from_secs(20);

/// How long a job may take at least, whatever is heard of its encoder, but for what it waits for the original: a hostile stream
/// or a broken encoder keeps a worker for no longer. Who watches has long gone on with the original.
pub const JOB_MIN: Duration = Duration::from_secs(300);

/// The same of a long segment: so many times as long as it lasts. One of 8K takes some ten times on a small machine.
pub const JOB_TIMES: u32 = 120;

/// An original of which nothing came for so long stands still: whoever waits for a place has that of its job. Parts last a second at
/// most.
pub const STANDS_STILL: Duration = Duration::from_secs(2);

/// How often the job of one segment gives its place to others: it is done from its beginning each time.
pub const STOOD_STILL_MAX: u32 = 2;

/// How often an encoder says that it goes on.
pub const GOES_ON_EVERY: Duration = Duration::from_secs(1);

/// Bytes that the server takes of a process for one job: some times what the largest ladder takes for the longest segment. A process that
/// was taken over by what it decodes could fill the server's memory with them.
pub const JOB_OUTPUT_BYTES_MAX: usize = 256 << 20;

/// What a packet counts at least against that.
pub const PACKET_BYTES_MIN: usize = 256;

/// What can't be made is not tried again for so long: it is of the same bytes. Its viewers have the original.
pub const FAILED_KEPT: Duration = Duration::from_secs(30);

/// The same of what has no original (yet).
pub const NO_ORIGINAL_KEPT: Duration = Duration::from_secs(5);

/// Who asks for a segment so soon after the one before fills a buffer: two are made ahead then. Segments are not shorter.
pub const FILLING: Duration = Duration::from_secs(1);

/// Deleted videos that are remembered so that nothing that was still being made of them is kept: seconds of work each.
pub const CACHE_GONE_MAX: usize = 4_096;

/// What a segment on the disk counts at least: a block and its name.
pub const CACHE_FILE_BYTES_MIN: u64 = 4 << 10;

/// Frames that are looked back over for the key frame that a segment without one of its own needs, in segments.
pub const LOOK_BACK_SEGMENTS: u64 = 8;

/// Initialisation segments of levels that are kept; each is a kilobyte. What was used longest ago is asked for again, of an encoder
/// or on the disk.
pub const INITS_MAX: usize = 4_096;

/// Levels of which it is remembered how many bits they took: as many as there are watched at one time and some days before;
/// of others lists say what was expected of them at first.
pub const RATES_MAX: usize = 4_096;

/// So far behind the segment that is being made those are who watch live, in segments: players of whole segments hold three
/// target durations back.
pub const LIVE_BEHIND: u64 = 4;

/// Jobs that were begun and have not been taken up: they are taken up at once, so this many are a flood.
pub const JOBS_MAX: usize = 256;

/// Places in a video at which a level is watched; more than so many at one time only lose the segment made ahead.
pub const DEMAND_MAX: usize = 64;

/// Pixels of a side of a picture that is asked for: that of a phone that is held upright.
pub const PICTURE_SIDE_MAX: u32 = 1_920;

/// Below it there is nothing to see: a block of a JPEG.
pub const PICTURE_SIDE_MIN: u32 = 8;

/// Pictures that are made at one time: they wait for each other rather than let those wait who watch.
pub const PICTURES_AT_ONCE: usize = 2;

/// A picture that has waited so long for its turn is not drawn any more: who asked was answered "busy" by then
/// (`deliver`'s `LEVEL_WAIT`).
pub const PICTURE_WAIT_MAX: Duration = Duration::from_secs(10);

/// A picture that nobody has waited for so long is given up: who is told "busy" comes back sooner.
pub const PICTURE_LEFT_MAX: Duration = Duration::from_secs(10);

/// Pictures that are asked for and not made yet; beyond it the answer is "busy" at once.
pub const PICTURES_WAITING_MAX: usize = 256;

/// Those of them from one address (of IPv6, one /64): a page of videos has as many. They take turns with others.
pub const PICTURES_PER_ADDRESS_MAX: usize = 64;

/// Bytes of pictures that are kept: some hundred posters, or the previews of some hours. They can be made again.
pub const PICTURES_CACHE_BYTES: usize = 32 << 20;

/// What a picture counts at least against that: there are no more than 8192.
pub const PICTURE_BYTES_MIN: usize = 4 << 10;

/// Tiles of a sheet side by side, and rows of them: one request for 25 pictures.
pub const SHEET_SIDE: u8 = 5;

/// Pixels of all pictures of a GIF together. One takes a byte and a half at worst: it fits into a message.
pub const FILM_PIXELS_MAX: u64 = 10_000_000;

/// Pixels that are decoded for one GIF: ten seconds of 1080p60, or five of 4K30, as many seconds of work. One that takes more
/// is shorter.
pub const FILM_DECODED_PIXELS_MAX: u64 = 1_250_000_000;

/// Segments of the original that are decoded for one GIF, beside those that are looked back over.
pub const FILM_SEGMENTS_MAX: u64 = 16;

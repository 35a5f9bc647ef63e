//! A viewer of packaged pictures asks for a key frame, and the encoder can make one.

use spine::TrackName;

use crate::studio::{Show, Studio, VIDEO};

const CMAF: TrackName = TrackName::from_static("video.cmaf");

fn group_of(studio: &Studio, name: TrackName) -> u64 {
    studio.track(name).largest().unwrap().group
}

#[test]
fn a_new_group_is_wanted_of_the_encoder_and_begins_a_segment() {
    let show = Show { seconds: 3.0, group: 60, sample_rate: None, ..Show::default() };
    for dynamic in [true, false] {
        let mut studio = Studio::new();
        if dynamic {
            studio.begins_groups_when_asked(VIDEO);
        }
        studio.send(&show.frames(), |_| ());
        let packaged = studio.track(CMAF);
        assert_eq!(packaged.info().dynamic_groups, dynamic);
        assert!(studio.wanted_groups().is_empty(), "nobody asked");
        let before = group_of(&studio, CMAF);
        packaged.request_group(before);
        let wanted = studio.wanted_groups();
        assert_eq!(wanted, if dynamic { vec![VIDEO] } else { vec![] });
        if !dynamic {
            continue;
        }
        assert!(studio.wanted_groups().is_empty(), "the encoder is asked once");
        // A second and a frame behind the last key frame comes the next one.
        let mut frames = Show { seconds: 0.5, ..show.clone() }.frames();
        for sent in &mut frames {
            sent.timestamp += 3_000;
            sent.config = None;
        }
        studio.send(&frames, |_| ());
        assert_eq!(group_of(&studio, CMAF), before + 1, "a segment of a second is not too short");
        assert_eq!(studio.findings().segments_without_key_frame, 0);
    }
}

#[test]
fn an_encoder_is_not_asked_again_and_again() {
    let show = Show { seconds: 0.9, group: 1, sample_rate: None, ..Show::default() };
    let mut studio = Studio::new();
    studio.begins_groups_when_asked(VIDEO);
    let mut asked = 0;
    for round in 0..10 {
        let mut frames = show.frames();
        for sent in &mut frames {
            sent.timestamp += 900 * round;
        }
        // Whatever comes, there is always one that wants more.
        for mut frame in frames {
            frame.truth = 1.0 / 30.0;
            studio.send(&[frame], |_| ());
            let raw = studio.track(TrackName::from_static("video"));
            raw.request_group(raw.largest().unwrap().group);
            asked += studio.wanted_groups().len();
        }
    }
    assert!((8..=10).contains(&asked), "{asked} times in nine seconds");
}

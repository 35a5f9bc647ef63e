//! Chats: in their order, for as long as their video, and what is deleted is gone.

use super::{NOW, on_air, segment, video_uid};
use crate::limits::LIST_ROWS;
use crate::{ChatChange, ChatMessage, ChatPage, Control, End, VideoUid};

fn said(id: u64, text: &str) -> ChatMessage {
    ChatMessage { id, at_ms: NOW + id * 1_000, name: "Ann".into(), text: text.into() }
}

async fn ids(control: &Control, video: &VideoUid, page: ChatPage, rows: usize) -> Vec<u64> {
    let found = control.chat(video, page, rows).await.unwrap();
    found.into_iter().map(|said| said.id).collect()
}

pub async fn a_chat_is_read_back_in_order_and_by_what_is_asked_for(control: &Control) {
    let video = on_air(control).await.owned.video;
    assert_eq!(control.chat_end(&video).await.unwrap(), (0, 0));
    let all: Vec<_> = (1..=6).map(|id| ChatChange::Said(said(id, "hello"))).collect();
    assert_eq!(control.change_chat(&video, all).await.unwrap(), [1; 6]);
    let first = control.chat(&video, ChatPage::After(0), 1).await.unwrap();
    assert_eq!(first, [said(1, "hello")]);
    for (page, rows, expect) in [
        (ChatPage::After(0), 3, vec![1, 2, 3]),
        (ChatPage::After(3), LIST_ROWS + 9, vec![4, 5, 6]),
        (ChatPage::After(6), 9, vec![]),
        (ChatPage::Before(5), 2, vec![3, 4]),
        (ChatPage::Before(u64::MAX >> 1), 2, vec![5, 6]),
        (ChatPage::Until(NOW + 4_000), 2, vec![3, 4]),
        (ChatPage::Until(NOW), 2, vec![]),
    ] {
        assert_eq!(ids(control, &video, page, rows).await, expect, "{page:?} {rows}");
    }
    assert_eq!(control.chat_end(&video).await.unwrap(), (6, NOW + 6_000));
    // Another video's is another chat, and there is none of a video that there is not.
    let nobody = video_uid(9);
    let lost = control.change_chat(&nobody, vec![ChatChange::Said(said(1, "hello"))]).await;
    assert_eq!(lost.unwrap(), [0]);
    assert_eq!(ids(control, &nobody, ChatPage::After(0), 9).await, [0; 0]);
}

pub async fn a_deleted_message_is_gone_and_its_number_is_not_used_again(control: &Control) {
    let video = on_air(control).await.owned.video;
    let changes = vec![
        ChatChange::Said(said(1, "hello")),
        ChatChange::Said(said(2, "rude")),
        ChatChange::Deleted(2),
        ChatChange::Deleted(2),
        ChatChange::Deleted(7),
        ChatChange::Said(said(2, "again")),
    ];
    let concerned = control.change_chat(&video, changes).await.unwrap();
    assert_eq!(concerned, [1, 1, 1, 0, 0, 0]);
    assert_eq!(control.chat(&video, ChatPage::After(0), 9).await.unwrap(), [said(1, "hello")]);
    assert_eq!(control.chat_end(&video).await.unwrap(), (2, NOW + 2_000));
    let changes = vec![ChatChange::Said(said(3, "more")), ChatChange::Cleared, ChatChange::Cleared];
    assert_eq!(control.change_chat(&video, changes).await.unwrap(), [1, 2, 0]);
    assert_eq!(ids(control, &video, ChatPage::After(0), 9).await, [0; 0]);
    assert_eq!(control.chat_end(&video).await.unwrap(), (3, NOW + 3_000));
}

pub async fn a_chat_goes_with_its_video(control: &Control) {
    let owned = on_air(control).await.owned;
    control.commit(&owned, vec![segment(&owned, 1)], 0).await.unwrap();
    control.change_chat(&owned.video, vec![ChatChange::Said(said(1, "hello"))]).await.unwrap();
    control.release(&owned, End::Goodbye, NOW).await.unwrap();
    assert_eq!(ids(control, &owned.video, ChatPage::After(0), 9).await, [1]);
    control.delete_video(&owned.video, NOW).await.unwrap();
    assert_eq!(ids(control, &owned.video, ChatPage::After(0), 9).await, [0; 0]);
    assert_eq!(control.chat_end(&owned.video).await.unwrap(), (0, 0));
}

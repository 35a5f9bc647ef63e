//! What is told of a request, in its order.

use moqt::Answer;
use moqt::session::Event;
use tokio::sync::mpsc;

use super::rig::soon;
use crate::link::Told;

/// Waits for the answer of a request. What comes before it, as the stream of a FETCH may, stays to be taken.
pub(super) async fn answered(told: &mut mpsc::UnboundedReceiver<Told>) -> Answer {
    let mut before = Vec::new();
    loop {
        match soon("an answer", told.recv()).await {
            Some(Told::Event(Event::Answered { answer, .. })) => {
                put_back(told, before);
                return answer;
            }
            Some(other) => before.push(other),
            None => panic!("the request is over"),
        }
    }
}

fn put_back(told: &mut mpsc::UnboundedReceiver<Told>, before: Vec<Told>) {
    if before.is_empty() {
        return;
    }
    let (sender, all) = mpsc::unbounded_channel();
    let mut rest = std::mem::replace(told, all);
    before.into_iter().for_each(|told| drop(sender.send(told)));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                next = rest.recv() => match next {
                    Some(told) => drop(sender.send(told)),
                    None => return,
                },
                () = sender.closed() => return,
            }
        }
    });
}

//! What signalling says to members while their media thread has no time for it.

use crossbeam_channel::bounded;
use hydraneckwebrtc::core::rooms::frame::Code;
use hydraneckwebrtc::core::rooms::registry::{MediaEvent, MediaOrder};
use hydraneckwebrtc::media::member::RoomPlace;

use crate::guest::Manners;
use crate::hall::{Hall, LOOPBACK, is_refused};

/// Of a hundred voices that begin at once, each is to be heard by 99 members.
const ORDERS: usize = 99 * 100;

// SPEC 10: What signalling has decided of a member is carried out, however far its media thread is
// behind; of messages of data channels at most 1,024 wait
// Also: `orders_are_taken_when_nothing_else_is`
#[test]
fn no_order_is_lost_while_a_media_thread_is_busy() {
    let mut hall = Hall::open(|settings| settings.webrtc.threads = 1);
    let ((is_busy, busy), (go_on, may_go_on)) = (bounded(1), bounded::<()>(0));
    // Who hears the first refusal keeps the thread busy until we let it go on.
    let told = move |event: &MediaEvent| {
        if is_refused(event, Code::InvalidOffer) && is_busy.try_send(()).is_ok() {
            let _ = may_go_on.recv();
        }
    };
    let member = hall.join_told(Manners::Naive, LOOPBACK, RoomPlace::WithTheRoom, told);
    let nonsense = || MediaOrder::Offer("nonsense".into());
    hall.order(member, nonsense());
    busy.recv().expect("a media thread that is busy");
    (0..ORDERS).for_each(|_| hall.order(member, nonsense()));
    drop(go_on);
    let refused = |hall: &Hall| {
        hall.seats[member].log.iter().filter(|event| is_refused(event, Code::InvalidOffer)).count()
    };
    hall.until("all are carried out", |hall| refused(hall) > ORDERS);
}

//! VP8's picture ids (RFC 7741, 4.2) for one viewer: they go on when it is moved from one layer to another, which have numbers of
//! their own. The picture that follows a move has the number after the last one seen.

use crate::media::rtp::payload::Vp8Numbers;

/// Picture ids have 15 bits, or 7.
const WIDE: u16 = 0x7fff;
const NARROW: u16 = 0x7f;

/// Half of all wide ids: what is further ahead is behind.
const HALF: u16 = 0x4000;

/// One viewer's numbering of pictures.
#[derive(Clone, Copy, Debug, Default)]
pub struct PictureIds {
    /// The newest sent: picture id and index of the lowest temporal layer.
    picture: Option<u16>,
    index: Option<u8>,
    shift: Shift,
    anew: bool,
}

/// What is added to a source's numbers: the same for all pictures between two moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shift {
    picture: u16,
    index: u8,
}

impl Shift {
    /// The numbers to send instead of a packet's own.
    pub fn of(self, source: &Vp8Numbers) -> Vp8Numbers {
        let most = if source.is_wide { WIDE } else { NARROW };
        let picture = source.picture.map(|picture| picture.wrapping_add(self.picture) & most);
        let index = source.index.map(|index| index.wrapping_add(self.index));
        Vp8Numbers { picture, index, is_wide: source.is_wide }
    }
}

impl PictureIds {
    /// The next picture follows the last one that was sent, whatever its numbers are.
    pub fn begin_anew(&mut self) {
        self.anew = true;
    }

    /// What is added to the numbers of what is followed now.
    pub fn shift(&self) -> Shift {
        self.shift
    }

    /// The numbers to send instead of a packet's own; `None`: they are right as they are.
    pub fn follow(&mut self, source: &Vp8Numbers) -> Option<Vp8Numbers> {
        if std::mem::take(&mut self.anew) {
            let after = |last: u16, first: u16| last.wrapping_add(1).wrapping_sub(first) & WIDE;
            let pictures = self.picture.zip(source.picture);
            self.shift.picture = pictures.map_or(0, |(last, first)| after(last, first));
            let indices = self.index.zip(source.index);
            self.shift.index = indices.map_or(0, |(last, first)| last.wrapping_add(1).wrapping_sub(first));
        }
        let sent = self.shift.of(source);
        let Vp8Numbers { picture, index, .. } = sent;
        if picture.zip(self.picture).is_none_or(|(now, last)| now.wrapping_sub(last) & WIDE < HALF) {
            (self.picture, self.index) = (picture.or(self.picture), index.or(self.index));
        }
        (sent != *source).then_some(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(picture: u16, index: u8) -> Vp8Numbers {
        Vp8Numbers { picture: Some(picture), index: Some(index), is_wide: true }
    }

    #[test]
    fn numbers_are_left_alone_until_the_viewer_is_moved() {
        let mut ids = PictureIds::default();
        ids.begin_anew();
        assert!([5, 6, 9].iter().all(|picture| ids.follow(&numbers(*picture, 1)).is_none()));
    }

    #[test]
    fn numbers_go_on_after_a_move_and_keep_their_distances() {
        let mut ids = PictureIds::default();
        ids.follow(&numbers(0x7ffe, 250));
        ids.follow(&numbers(0x7ffd, 249));
        ids.begin_anew();
        assert_eq!(
            ids.follow(&numbers(40, 7)),
            Some(numbers(0x7fff, 251)),
            "the overtaken one does not count"
        );
        assert_eq!(ids.follow(&numbers(40, 7)), Some(numbers(0x7fff, 251)), "another packet of it");
        assert_eq!(ids.follow(&numbers(43, 9)), Some(numbers(2, 253)), "over the end of 15 bits");
        ids.begin_anew();
        assert_eq!(ids.follow(&numbers(3, 254)), None, "right as they are, by chance");
    }

    #[test]
    fn what_a_packet_does_not_have_it_does_not_get() {
        let mut ids = PictureIds::default();
        ids.follow(&numbers(100, 3));
        ids.begin_anew();
        let bare = Vp8Numbers { picture: None, index: None, is_wide: false };
        assert_eq!(ids.follow(&bare), None);
        let narrow = Vp8Numbers { picture: Some(126), index: None, is_wide: false };
        ids.begin_anew();
        let sent = ids.follow(&narrow).unwrap();
        assert_eq!((sent.picture, sent.index), (Some(101), None));
        let next = Vp8Numbers { picture: Some(127), ..narrow };
        assert_eq!(ids.follow(&next).unwrap().picture, Some(102));
    }
}

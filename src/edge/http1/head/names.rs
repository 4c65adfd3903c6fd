//! A table of field names. Each field of each message is looked up several times, and the length of its name leaves one or two of a table.

/// Longest name a table may have.
const LONGEST: usize = 48;

/// Names in lower case, each with what it stands for.
#[derive(Clone, Copy, Debug)]
pub struct Names<T, const COUNT: usize> {
    /// The shorter ones first.
    sorted: [(&'static str, T); COUNT],
    /// Where those of each length begin.
    begin: [usize; LONGEST + 2],
}

impl<const COUNT: usize> Names<(), COUNT> {
    /// A table of names that all stand for the same.
    pub const fn of(names: [&'static str; COUNT]) -> Names<(), COUNT> {
        let (mut all, mut at) = ([("", ()); COUNT], 0);
        while at < COUNT {
            all[at].0 = names[at];
            at += 1;
        }
        Names::new(all)
    }
}

impl<T: Copy, const COUNT: usize> Names<T, COUNT> {
    /// A table of these.
    pub const fn new(mut names: [(&'static str, T); COUNT]) -> Names<T, COUNT> {
        let mut placed = 0;
        while placed < COUNT {
            let mut at = placed;
            while at > 0 && names[at - 1].0.len() > names[at].0.len() {
                names.swap(at - 1, at);
                at -= 1;
            }
            assert!(names[at].0.len() <= LONGEST, "the name is too long");
            placed += 1;
        }
        let (mut begin, mut length, mut at) = ([0; LONGEST + 2], 0, 0);
        while length < begin.len() {
            while at < COUNT && names[at].0.len() < length {
                at += 1;
            }
            begin[length] = at;
            length += 1;
        }
        Names { sorted: names, begin }
    }

    /// What a name stands for, in any case.
    pub fn find(&self, name: &str) -> Option<T> {
        let (from, to) = (*self.begin.get(name.len())?, *self.begin.get(name.len() + 1)?);
        let alike = self.sorted.get(from..to)?;
        alike.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, kind)| *kind)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, T)> {
        self.sorted.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<u8, 4> = Names::new([("etag", 1), ("te", 2), ("host", 3), ("x-long-name", 4)]);

    #[test]
    fn every_name_is_found_in_any_case_and_nothing_else() {
        for (name, kind) in NAMES.iter() {
            assert_eq!([NAMES.find(name), NAMES.find(&name.to_uppercase())], [Some(kind); 2], "{name}");
        }
        let endless = "x".repeat(1_000);
        for other in ["", "t", "tf", "hosts", "hosu", "x-long-namf", &endless, &endless[..48], &endless[..49]]
        {
            assert_eq!(NAMES.find(other), None, "{other}");
        }
        assert_eq!(
            NAMES.iter().map(|(_, kind)| kind).collect::<Vec<_>>(),
            [2, 1, 3, 4],
            "the shorter ones first"
        );
    }
}

//! Fields that let pages of other sites ask and read (Fetch standard, 3.3).

/// Names and values.
pub type Fields = &'static [(&'static str, &'static str)];

/// Adds those that are not there.
pub fn added(mut there: Vec<(&'static str, String)>, fields: Fields) -> Vec<(&'static str, String)> {
    for (name, value) in fields {
        if !there.iter().any(|(known, _)| known == name) {
            there.push((name, (*value).to_owned()));
        }
    }
    there
}

//! Whom a restart of a worker would disturb.

use serde_json::Value;

/// Who is at a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct People {
    /// Its sessions.
    pub sessions: u64,
    /// Members of its rooms.
    pub members: u64,
}

impl People {
    /// By a worker's health; `None`: it is none of a worker.
    pub fn of(health: &Value) -> Option<People> {
        let extra = &health["extra"];
        let members = match &extra["room_members"] {
            // A version without rooms.
            Value::Null => 0,
            members => members.as_u64()?,
        };
        Some(People { sessions: extra["active_sessions"].as_u64()?, members })
    }

    /// How many they are.
    pub fn count(self) -> u64 {
        self.sessions.saturating_add(self.members)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_of_rooms_count_and_what_is_no_worker_is_told_apart() {
        let of = |extra: Value| People::of(&json!({ "extra": extra }));
        let count = |extra: Value| of(extra).map(People::count);
        assert_eq!(count(json!({"active_sessions": 0, "room_members": 0})), Some(0));
        assert_eq!(count(json!({"active_sessions": 1, "room_members": 2})), Some(3));
        assert_eq!(count(json!({"active_sessions": 4})), Some(4), "a version without rooms");
        for strange in
            [json!({}), json!({"room_members": 0}), json!({"active_sessions": 0, "room_members": -1})]
        {
            assert_eq!(of(strange.clone()), None, "{strange}");
        }
        assert_eq!(People::of(&Value::Null), None);
    }
}

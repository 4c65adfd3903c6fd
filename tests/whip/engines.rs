//! Media processes of every kind beside each other: from a file and from a generator, with and without sound, H264 and VP8.

use std::process::Command;

use serde_json::{Value, json};

use crate::client::{Client, Wants, until};
use crate::http;
use crate::lab::{Lab, eventually};
use crate::stage::{PATIENCE, SDP};

/// A film of two seconds, as somebody would have it: H264 and AAC.
fn film(lab: &Lab) -> String {
    let path = lab.dir.join("film.mp4");
    let made = Command::new("/usr/bin/ffmpeg")
        .args(["-loglevel", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=15"])
        .args([
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440",
            "-t",
            "2",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
        ])
        .args(["-c:a", "aac"])
        .arg(&path)
        .status();
    assert!(made.is_ok_and(|status| status.success()), "a film");
    path.to_str().expect("a path").to_owned()
}

/// What one engine is, and what its viewer must see.
struct Row {
    name: String,
    entry: Value,
    codec: &'static str,
    sound: bool,
}

fn rows(film: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for from_file in [true, false] {
        for sound in [true, false] {
            for (codec, video) in [("H264", "h264"), ("VP8", "vp8")] {
                let mut command = vec!["/usr/bin/ffmpeg", "-re"];
                match from_file {
                    true => command.extend(["-stream_loop", "-1", "-i", film]),
                    false => command.extend(["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=15"]),
                }
                if sound && !from_file {
                    command.extend(["-f", "lavfi", "-i", "sine=frequency=440"]);
                }
                // The file has sound, which is not wanted then.
                let audio = if from_file && !sound { "no" } else { "probe" };
                let name = format!("e{}-{video}", rows.len());
                rows.push(Row {
                    name,
                    entry: json!({"command": command, "video": video, "audio": audio}),
                    codec,
                    sound,
                });
            }
        }
    }
    rows
}

// SPEC 8 whep: Media processes from a file and from a generator, with and without sound, H264 and
// VP8, are seen
#[test]
fn processes_from_file_and_generator_with_and_without_sound_in_either_codec_are_seen() {
    let mut lab = Lab::new();
    let rows = rows(&film(&lab));
    let bodies: Vec<String> = (1..=rows.len()).map(|number| lab.body(number)).collect();
    let entries: serde_json::Map<String, Value> =
        rows.iter().map(|row| (row.name.clone(), row.entry.clone())).collect();
    let worker = lab.lone_worker(|config| config["engines"] = Value::Object(entries));
    let mut viewers = Vec::new();
    for (row, body) in rows.iter().zip(&bodies) {
        let reply = worker.post("/api/v1/sessions", &json!({"body_ip": body, "engine": row.name}));
        assert_eq!(reply.status, 201, "{}: {}\n{}", row.entry, reply.body, worker.log_text());
        let id = reply.json()["session_id"].as_str().expect("an id").to_owned();
        let (mut client, sdp) = Client::offer(Wants::Watch);
        let path = format!("/session/{id}/whep");
        let reply = eventually("something to watch", || {
            let reply = http::request(&worker.url, "POST", &path, &[SDP], &sdp);
            Some(reply).filter(|reply| reply.status != 409)
        });
        assert_eq!(reply.status, 201, "{reply:?}");
        assert!(reply.body.contains(&format!(" {}/90000", row.codec)), "{}", reply.body);
        // A refused section has port 0, and names a codec all the same.
        let hears = reply.body.contains("m=audio ") && !reply.body.contains("m=audio 0 ");
        assert_eq!(hears, row.sound, "{}: {}", row.entry, reply.body);
        client.answer(&reply.body);
        viewers.push(client);
    }
    until("pictures, and sound where there is", &mut viewers, PATIENCE * 2, |clients| {
        let heard = |(client, row): (&Client, &Row)| {
            client.seen.frames > 20 && (client.seen.audio > 20 || !row.sound)
        };
        clients.iter().zip(&rows).all(heard)
    });
    for (client, row) in viewers.iter().zip(&rows) {
        assert_eq!(
            (client.seen.gaps, client.seen.audio > 0),
            (0, row.sound),
            "{}: {:?}",
            row.entry,
            client.seen
        );
        assert!(
            client.seen.first_picture.is_some() || row.codec != "VP8",
            "{}: {:?}",
            row.entry,
            client.seen
        );
    }
    println!("{} engines were seen", rows.len());
}

//! One connection of a body, from its first request to its end.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};

use super::shared::{Door, Shared};
use super::{gamestream, hydrabody, management};
use crate::http::{Connection, Incoming, Reply, Request, Wire, reason};

/// A client that does not read is dropped.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// What the wrong kind of server would say.
pub const GARBAGE: &str = "\u{1}\u{2}<<<{\"not\": what you expected";

/// Answers one request; `None` closes the connection without a word. The socket is there to see whether the client left.
type Answer = fn(&Arc<Shared>, &Request, &TcpStream) -> Option<Reply>;

/// Serves until either side ends.
pub fn serve(shared: &Arc<Shared>, door: Door, client: TcpStream) {
    // A client that leaves half way is its own affair.
    let _ = match door {
        Door::GameStream => plain(shared, client, gamestream::answer),
        Door::Hydrabody => plain(shared, client, hydrabody::answer),
        Door::Management => encrypted(shared, client),
    };
}

fn prepare(client: &TcpStream) -> io::Result<TcpStream> {
    client.set_nodelay(true)?;
    client.set_write_timeout(Some(WRITE_LIMIT))?;
    client.try_clone()
}

fn plain(shared: &Arc<Shared>, client: TcpStream, answer: Answer) -> io::Result<()> {
    let socket = prepare(&client)?;
    talk(shared, &mut Connection::new(client), &socket, answer)
}

fn encrypted(shared: &Arc<Shared>, client: TcpStream) -> io::Result<()> {
    let socket = prepare(&client)?;
    let session = ServerConnection::new(shared.identity()).map_err(io::Error::other)?;
    let mut connection = Connection::new(StreamOwned::new(session, client));
    let ended = talk(shared, &mut connection, &socket, management::answer);
    let (mut stream, _) = connection.into_parts();
    stream.conn.send_close_notify();
    stream.flush()?;
    ended
}

fn talk<W: Wire>(
    shared: &Arc<Shared>,
    connection: &mut Connection<W>,
    socket: &TcpStream,
    answer: Answer,
) -> io::Result<()> {
    loop {
        let request = match connection.next() {
            Incoming::Request(request) => request,
            Incoming::Refused(status) => {
                return connection.send(&Reply::text(status, reason(status)), false, false);
            }
            Incoming::Closed => return Ok(()),
        };
        let Some(reply) = answer(shared, &request, socket).filter(|_| shared.is_alive()) else {
            return Ok(());
        };
        connection.send(&reply, request.keep_alive, request.method == "HEAD")?;
        if !request.keep_alive {
            return Ok(());
        }
    }
}

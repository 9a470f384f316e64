//! The line to a server, which a test cuts.

use std::error::Error;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Takes connections on a port of its own, and carries what they say to a server and back.
pub(crate) struct Line {
    pub(crate) address: String,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// What the server says is held back.
    mute: bool,
    /// New connections are refused.
    closed: bool,
    /// Connections of an earlier one are over.
    turn: u64,
}

impl Line {
    pub(crate) async fn to(server: &str) -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let (state, watched) = watch::channel(State::default());
        let server = server.to_owned();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if !watched.borrow().closed {
                    tokio::spawn(carry(near, server.clone(), watched.clone()));
                } else if near.set_zero_linger().is_ok() {
                    drop(near);
                }
            }
        });
        Ok(Self { address, state })
    }

    /// From now on nothing that the server says arrives; what it is asked still does.
    pub(crate) fn mute(&self) {
        self.state.send_modify(|state| state.mute = true);
    }

    /// Resets every connection. Those that follow are carried.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| *state = State { turn: state.turn + 1, ..State::default() });
    }

    /// Resets every connection, and refuses those that follow until the next `cut`.
    pub(crate) fn close(&self) {
        self.state.send_modify(|state| *state = State { turn: state.turn + 1, closed: true, ..State::default() });
    }
}

async fn carry(near: TcpStream, server: String, mut state: watch::Receiver<State>) {
    let turn = state.borrow().turn;
    let Ok(far) = TcpStream::connect(server).await else { return };
    let (near, far) = match (near.set_zero_linger(), far.set_zero_linger()) {
        (Ok(()), Ok(())) => (near.into_split(), far.into_split()),
        _ => return,
    };
    let heard = state.clone();
    tokio::select! {
        () = ask(near.0, far.1) => {}
        () = answer(far.0, near.1, heard, turn) => {}
        _ = state.wait_for(|state| state.turn != turn) => {}
    }
}

async fn ask(mut near: OwnedReadHalf, mut far: OwnedWriteHalf) {
    let _ = tokio::io::copy(&mut near, &mut far).await;
}

async fn answer(mut far: OwnedReadHalf, mut near: OwnedWriteHalf, mut state: watch::Receiver<State>, turn: u64) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(size @ 1..) = far.read(&mut piece).await {
        // What was held back when the line was cut is lost.
        let kept = state.wait_for(|state| !state.mute || state.turn != turn).await.is_ok_and(|now| now.turn == turn);
        if !kept || near.write_all(&piece[..size]).await.is_err() {
            return;
        }
    }
}

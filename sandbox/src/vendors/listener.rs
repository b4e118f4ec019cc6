//! A port that can be shut, and connections that can be cut without notice. It does not know their protocol.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Cuts one connection: nothing more is read from it or written to it.
#[derive(Clone, Debug)]
pub struct Switch(CancellationToken);

impl Switch {
    /// Lets every later read and write fail, so that the connection is closed.
    pub fn cut(&self) {
        self.0.cancel();
    }

    fn check(&self) -> io::Result<()> {
        if self.0.is_cancelled() { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl Connected<IncomingStream<'_, CutListener>> for Switch {
    fn connect_info(stream: IncomingStream<'_, CutListener>) -> Self {
        stream.io().switch.clone()
    }
}

/// Opens and shuts a port.
#[derive(Clone, Debug)]
pub struct Door {
    wanted: watch::Sender<bool>,
    is_open: watch::Sender<bool>,
}

impl Door {
    /// Opens it, or shuts it and cuts its connections. Returns when that is done.
    pub async fn set(&self, open: bool) {
        self.wanted.send_replace(open);
        // The sender lives in this listener, so the wait ends only in the wanted state.
        let _ = self.is_open.subscribe().wait_for(|is_open| *is_open == open).await;
    }
}

/// A TCP listener that follows a [`Door`] and gives every connection a [`Switch`].
pub struct CutListener {
    address: SocketAddr,
    door: Door,
    port: Port,
    /// Cuts every connection made since the port was opened.
    all: CancellationToken,
}

/// The port, open or shut.
enum Port {
    Open(TcpListener),
    /// Bound and not listening: connections are refused, and no other process gets the port.
    Shut(Option<TcpSocket>),
}

impl CutListener {
    /// An open port.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        Ok(Self {
            address: listener.local_addr()?,
            door: Door { wanted: watch::Sender::new(true), is_open: watch::Sender::new(true) },
            port: Port::Open(listener),
            all: CancellationToken::new(),
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The door that opens and shuts it.
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Opens or shuts the port if needed. A port that cannot be opened stays shut.
    fn turn(&mut self, open: bool) {
        match &mut self.port {
            Port::Shut(held) if open => {
                let socket = held.take().map_or_else(|| bind(self.address), Ok);
                self.port = socket.and_then(|socket| socket.listen(BACKLOG)).map_or(Port::Shut(None), Port::Open);
            }
            Port::Open(_) if !open => {
                // The listener is dropped first, because the port cannot be bound beside it.
                self.port = Port::Shut(None);
                self.port = Port::Shut(bind(self.address).ok());
                std::mem::take(&mut self.all).cancel();
            }
            Port::Open(_) | Port::Shut(_) => {}
        }
        self.door.is_open.send_replace(matches!(self.port, Port::Open(_)));
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Reuse the address, because closed connections of the port may linger.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

impl Listener for CutListener {
    type Io = CutStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (CutStream, SocketAddr) {
        let mut wanted = self.door.wanted.subscribe();
        loop {
            let open = *wanted.borrow_and_update();
            self.turn(open);
            let accepted = async {
                match &mut self.port {
                    Port::Open(listener) => Listener::accept(listener).await,
                    Port::Shut(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                (inner, address) = accepted => return (CutStream::new(inner, self.all.child_token()), address),
                _ = wanted.changed() => {}
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// A connection with its switch.
pub struct CutStream {
    inner: TcpStream,
    switch: Switch,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl CutStream {
    fn new(inner: TcpStream, token: CancellationToken) -> Self {
        // Without it small answers wait for acknowledgements. A failure to set it only costs time.
        let _ = inner.set_nodelay(true);
        Self { inner, switch: Switch(token.clone()), cut: Box::pin(token.cancelled_owned()) }
    }
}

impl AsyncRead for CutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(self.switch.check());
        }
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.switch.check()?;
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.switch.check()?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

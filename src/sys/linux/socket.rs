//! Pairs of sockets that carry messages with descriptors.

use core::mem::{self, MaybeUninit};
use core::ptr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

pub(crate) use super::super::types::{MOST_DESCRIPTORS, Message};
use super::{check, retry};

/// Makes two connected sockets, which preserve message boundaries and order.
///
/// # Errors
/// Whatever `socketpair` reports.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds: [RawFd; 2] = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the pointer is to room for two numbers.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) })?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    let own = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
    Ok((own(fds[0]), own(fds[1])))
}

/// Bytes of one control message with this many descriptors.
fn control_room(descriptors: usize) -> usize {
    let bytes = mem::size_of::<RawFd>() * descriptors;
    // SAFETY: the function only computes; 253 descriptors are far below the limit of its type.
    unsafe { libc::CMSG_SPACE(bytes as u32) as usize }
}

/// An empty header.
fn empty_header() -> libc::msghdr {
    // SAFETY: a header is made of numbers and pointers, for which zero is a value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Sends a message, which must not be empty, with at most [`MOST_DESCRIPTORS`]. If `wait` is false and there is no room for it, the
/// error is `WouldBlock`.
///
/// # Errors
/// Whatever `sendmsg` reports; `InvalidInput` for too many descriptors.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>], wait: bool) -> io::Result<()> {
    if fds.len() > MOST_DESCRIPTORS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut header = empty_header();
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    let mut control = vec![0_u64; control_room(fds.len()).div_ceil(8)];
    if !fds.is_empty() {
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = control_room(fds.len()) as _;
        put_descriptors(&header, fds);
    }
    let flags = libc::MSG_NOSIGNAL | if wait { 0 } else { libc::MSG_DONTWAIT };
    // SAFETY: the header leads to the bytes and to the control message, which outlive the call.
    retry(|| unsafe { libc::sendmsg(socket.as_raw_fd(), &header, flags) }).map(drop)
}

/// Fills the one control message for which `header` has room.
fn put_descriptors(header: &libc::msghdr, fds: &[BorrowedFd<'_>]) {
    // SAFETY: the header's control buffer is aligned, writable and large enough for one message.
    let message = unsafe { libc::CMSG_FIRSTHDR(header) };
    let bytes = (size_of::<RawFd>() * fds.len()) as u32;
    // SAFETY: the function only computes.
    let length = unsafe { libc::CMSG_LEN(bytes) };
    // SAFETY: the pointer is to the first message of the buffer, all of whose bytes are initialised.
    let message_header = unsafe { &mut *message };
    message_header.cmsg_level = libc::SOL_SOCKET;
    message_header.cmsg_type = libc::SCM_RIGHTS;
    message_header.cmsg_len = length as _;
    // SAFETY: the message has room for data, by its length.
    let data = unsafe { libc::CMSG_DATA(message) }.cast::<RawFd>();
    for (at, fd) in fds.iter().enumerate() {
        let place = data.wrapping_add(at);
        // SAFETY: the buffer was made for so many numbers.
        unsafe { place.write_unaligned(fd.as_raw_fd()) };
    }
}

/// Receives a message of at most `room` bytes; `None` if no more will come. If `wait` is false and there is none yet, the error is
/// `WouldBlock`.
///
/// # Errors
/// Whatever `recvmsg` reports; `InvalidData` if bytes or descriptors were lost.
pub(crate) fn receive(socket: BorrowedFd<'_>, room: usize, wait: bool) -> io::Result<Option<Message>> {
    let mut bytes = vec![0; room];
    let mut part = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: room,
    };
    let mut control = vec![0_u64; control_room(MOST_DESCRIPTORS).div_ceil(8)];
    let mut header = empty_header();
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = control_room(MOST_DESCRIPTORS) as _;
    let flags = libc::MSG_CMSG_CLOEXEC | if wait { 0 } else { libc::MSG_DONTWAIT };
    // SAFETY: the header leads to writable bytes and control messages, which outlive the call.
    let length = retry(|| unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, flags) })?;
    let descriptors = take_descriptors(&header);
    if length == 0 {
        return Ok(None);
    }
    if header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    bytes.truncate(length as usize);
    Ok(Some(Message { bytes, descriptors }))
}

/// Takes over the descriptors that the kernel created with a message.
fn take_descriptors(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut found = Vec::new();
    // SAFETY: the kernel has filled the header's control buffer and set its length.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !at.is_null() {
        // SAFETY: the pointer is to a control message that the kernel has written.
        let message = unsafe { ptr::read(at) };
        if (message.cmsg_level, message.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: the function only computes.
            let before = unsafe { libc::CMSG_LEN(0) } as usize;
            let count = (message.cmsg_len as usize).saturating_sub(before) / size_of::<RawFd>();
            // SAFETY: the message has data, by its type.
            let data = unsafe { libc::CMSG_DATA(at) }.cast::<RawFd>();
            for place in (0..count).map(|at| data.wrapping_add(at)) {
                // SAFETY: by the message's length, that many numbers are there.
                let fd = unsafe { place.read_unaligned() };
                // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
                found.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        // SAFETY: header and message are unchanged since the kernel wrote them.
        at = unsafe { libc::CMSG_NXTHDR(header, at) };
    }
    found
}

/// Whether a message could not be sent because the other end is gone.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionRefused | ConnectionReset | NotConnected
    )
}

/// Shuts down both directions, even if other processes hold copies of these sockets.
pub(crate) fn shut(socket: BorrowedFd<'_>) {
    // SAFETY: the call takes two numbers and touches no memory.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
}

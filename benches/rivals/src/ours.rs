//! procshare's queue, pipe and ring.

use crate::link::{Link, Shape, answer, poll};
use procshare::{Capacity, Connection, Consumer, Process, Producer, RecvError, SharedQueue, ring};
use std::mem;

fn capacity(shape: Shape) -> Capacity {
    Capacity::items(shape.places()).bytes(shape.places() * (shape.bytes + 64))
}

fn is_empty(error: &RecvError) -> bool {
    *error == RecvError::Empty
}

/// One to send through and one to receive from.
pub struct Queue(SharedQueue<Vec<u8>>, SharedQueue<Vec<u8>>);

impl Link for Queue {
    fn start(shape: Shape) -> (Self, Process<()>) {
        let [there, back] = [(); 2].map(|()| SharedQueue::new(capacity(shape)).unwrap());
        let run = |sending, receiving, shape| answer(Queue(sending, receiving), shape);
        let child = Process::builder().daemon(true);
        let child = child.spawn(run, (back.clone(), there.clone(), shape)).unwrap();
        (Queue(there, back), child)
    }

    fn send(&mut self, message: &mut Vec<u8>) {
        self.0.put(mem::take(message)).unwrap();
    }

    fn receive(&mut self, busy: bool, message: &mut Vec<u8>) {
        let received = match busy {
            true => poll(is_empty, || self.1.try_get()),
            false => self.1.get().unwrap(),
        };
        *message = received;
    }
}

pub struct Pipe(Connection<Vec<u8>>);

impl Link for Pipe {
    fn start(shape: Shape) -> (Self, Process<()>) {
        let (ours, theirs) = Connection::pair(capacity(shape)).unwrap();
        let run = |connection, shape| answer(Pipe(connection), shape);
        let child = Process::builder().daemon(true).spawn(run, (theirs, shape)).unwrap();
        (Pipe(ours), child)
    }

    fn send(&mut self, message: &mut Vec<u8>) {
        self.0.send(mem::take(message)).unwrap();
    }

    fn receive(&mut self, busy: bool, message: &mut Vec<u8>) {
        let received = match busy {
            true => poll(is_empty, || self.0.try_recv()),
            false => self.0.recv().unwrap(),
        };
        *message = received;
    }
}

/// Two rings of bytes; a message is a chunk. As all are of one length, none is cut where the ring ends.
pub struct Ring(Producer<u8>, Consumer<u8>);

impl Link for Ring {
    fn start(shape: Shape) -> (Self, Process<()>) {
        let [there, back] = [(); 2].map(|()| ring(shape.places() * shape.bytes).unwrap());
        let run = |producer, consumer, shape| answer(Ring(producer, consumer), shape);
        let child = Process::builder()
            .daemon(true)
            .spawn(run, (back.0, there.1, shape))
            .unwrap();
        (Ring(there.0, back.1), child)
    }

    fn send(&mut self, message: &mut Vec<u8>) {
        self.0.write_chunk(message.len()).unwrap().copy_from_slice(message);
    }

    fn receive(&mut self, busy: bool, message: &mut Vec<u8>) {
        let bytes = message.len();
        match busy {
            true => poll(is_empty, || {
                self.1
                    .try_read_chunk(bytes)
                    .map(|chunk| message.copy_from_slice(&chunk))
            }),
            false => message.copy_from_slice(&self.1.read_chunk(bytes).unwrap()),
        }
    }
}

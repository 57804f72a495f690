//! ipc-channel: two channels for bytes, which it does not encode.

use crate::link::{Link, Shape, answer, poll};
use ipc_channel::TryRecvError;
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender, bytes_channel};
use procshare::Process;

pub struct IpcChannel(IpcBytesSender, IpcBytesReceiver);

type Ends = (IpcBytesSender, IpcBytesReceiver);

impl Link for IpcChannel {
    fn start(shape: Shape) -> (Self, Process<()>) {
        let (server, name) = IpcOneShotServer::<Ends>::new().unwrap();
        let run = |name: String, shape| {
            let [there, back] = [(); 2].map(|()| bytes_channel().unwrap());
            let parent = IpcSender::<Ends>::connect(name).unwrap();
            parent.send((there.0, back.1)).unwrap();
            answer(IpcChannel(back.0, there.1), shape);
        };
        let child = Process::builder().daemon(true).spawn(run, (name, shape)).unwrap();
        let (_, (sending, receiving)) = server.accept().unwrap();
        (IpcChannel(sending, receiving), child)
    }

    fn send(&mut self, message: &mut Vec<u8>) {
        self.0.send(message).unwrap();
    }

    fn receive(&mut self, busy: bool, message: &mut Vec<u8>) {
        *message = match busy {
            true => poll(|error| matches!(error, TryRecvError::Empty), || self.1.try_recv()),
            false => self.1.recv().unwrap(),
        };
    }
}

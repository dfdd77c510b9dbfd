// Package nbd reads the disk behind an NBD server (qemu-nbd, nbdkit, a libvirt
// pull backup, oVirt, Proxmox): as an [io.ReaderAt] that knows its holes.
//
// It is a client for reading only, of the fixed newstyle handshake, as described
// in the protocol's document (doc/proto.md of the NBD project). It never sends a
// command that changes the disk.
//
//	Dial ── connection ── handshake: STARTTLS, structured replies,
//	                      base:allocation, GO (or EXPORT_NAME)
//	     ── connection     ...as many as the server allows
//
//	ReadAt   ── READ          ── any connection, many requests at a time
//	NextData ── BLOCK_STATUS  ── what the server calls a hole or zeros
//
// # Failures
//
// A request that fails, or whose connection breaks or stalls, is repeated on a
// new connection, a few times and with growing pauses. What fails for good is a
// [*RequestError] with the offset. A server whose export has another size after a
// new connection is [ErrChanged].
//
// # Security
//
// The server is not trusted: every length it sends is checked against what was
// asked for before anything is allocated or stored. nbds:// URIs use TLS and
// verify the server's certificate; nbd:// never sends anything secret.
package nbd

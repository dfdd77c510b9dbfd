package nbd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Values of the transmission, from the protocol's document.
const (
	magicRequest    = 0x25609513
	magicSimple     = 0x67446698
	magicStructured = 0x668e33ef

	cmdRead        = 0
	cmdDisconnect  = 2
	cmdBlockStatus = 7

	chunkDone = 1 << 0

	chunkNone        = 0
	chunkData        = 1
	chunkHole        = 2
	chunkBlockStatus = 5
	chunkError       = 1<<15 + 1
	chunkErrorOffset = 1<<15 + 2

	statusZero = 1 << 1 // reads as zeros

	maxStatus  = 1 << 20 // bytes of one reply: 128 Ki extents
	maxMessage = 4096    // bytes of an error's text, by the protocol
)

// conn is a connection in transmission. Many requests may be under way.
type conn struct {
	net   net.Conn
	info  *exportInfo
	stall time.Duration

	wmu sync.Mutex // held while a request is written

	mu      sync.Mutex // guards what follows
	next    uint64     // cookie
	waiting map[uint64]*request
	err     error // why the connection is over
}

// request is one under way. Its fields but done belong to the receiver until
// done is closed.
type request struct {
	op     uint16
	off    int64
	length int64
	p      []byte   // of a read
	got    int64    // bytes of p that have come
	status []extent // of a block status
	err    error
	done   chan struct{}
}

type extent struct {
	length int64
	zero   bool
}

func newConn(nc net.Conn, info *exportInfo, stall time.Duration) *conn {
	c := &conn{net: nc, info: info, stall: stall, waiting: make(map[uint64]*request)}
	go c.receive()
	return c
}

// do sends a request and waits for its end.
func (c *conn) do(r *request) error {
	r.done = make(chan struct{})
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return c.err
	}
	c.next++
	cookie := c.next
	if len(c.waiting) == 0 { // nothing was expected until now
		_ = c.net.SetReadDeadline(time.Now().Add(c.stall))
	}
	c.waiting[cookie] = r
	c.mu.Unlock()
	if err := c.write(r.op, cookie, r.off, r.length); err != nil {
		c.fail(err)
	}
	// The receiver ends the request, in any case: nobody else knows when it has
	// stopped writing into the buffer.
	<-r.done
	return r.err
}

func (c *conn) write(op uint16, cookie uint64, off, length int64) error {
	p := binary.BigEndian.AppendUint32(make([]byte, 0, 28), magicRequest)
	p = binary.BigEndian.AppendUint16(p, 0)
	p = binary.BigEndian.AppendUint16(p, op)
	p = binary.BigEndian.AppendUint64(p, cookie)
	p = binary.BigEndian.AppendUint64(p, uint64(off))
	p = binary.BigEndian.AppendUint32(p, uint32(length))
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if err := c.net.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
		return err
	}
	_, err := c.net.Write(p)
	return err
}

// receive reads replies until the connection is over.
func (c *conn) receive() {
	in := bufio.NewReaderSize(&watched{c}, 64<<10)
	for {
		if err := c.reply(in); err != nil {
			c.fail(err)
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for cookie, r := range c.waiting {
		r.err = c.err
		close(r.done)
		delete(c.waiting, cookie)
	}
}

// watched gives the server the stall timeout for each read as long as something
// is expected of it.
type watched struct{ c *conn }

func (w *watched) Read(p []byte) (int, error) {
	w.c.mu.Lock()
	deadline := time.Time{}
	if len(w.c.waiting) > 0 {
		deadline = time.Now().Add(w.c.stall)
	}
	err := w.c.net.SetReadDeadline(deadline)
	w.c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := w.c.net.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = pkg.Errorf("%w: no byte in %v", ErrStalled, w.c.stall)
	}
	return n, err
}

// fail ends the connection, and by that the receiver.
func (c *conn) fail(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	_ = c.net.Close()
}

// close says goodbye, if that can be done without waiting, and ends everything.
func (c *conn) close() {
	if c.wmu.TryLock() {
		c.wmu.Unlock()
		_ = c.write(cmdDisconnect, 0, 0, 0)
	}
	c.fail(ErrClosed)
}

// broken returns why the connection is over, nil if it is not.
func (c *conn) broken() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *conn) find(cookie uint64) (*request, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.waiting[cookie]; r != nil {
		return r, nil
	}
	return nil, protocolError("reply to a request that was not made")
}

// finish ends a request.
func (c *conn) finish(cookie uint64, r *request) {
	if r.err == nil && r.op == cmdRead && r.got != r.length {
		r.err = protocolError("%d of %d bytes", r.got, r.length)
	}
	if r.err == nil && r.op == cmdBlockStatus && len(r.status) == 0 {
		r.err = protocolError("no block status")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting[cookie] == r {
		delete(c.waiting, cookie)
		close(r.done)
	}
}

// reply reads one simple reply or one chunk. Its error is fatal to the
// connection; one of the request alone is in the request.
func (c *conn) reply(in *bufio.Reader) error {
	var b [20]byte
	if _, err := io.ReadFull(in, b[:16]); err != nil {
		return err
	}
	switch binary.BigEndian.Uint32(b[:]) {
	case magicSimple:
		return c.simple(in, binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint64(b[8:]))
	case magicStructured:
		if !c.info.structured {
			return protocolError("structured reply without having been asked for")
		}
		if _, err := io.ReadFull(in, b[16:]); err != nil {
			return err
		}
		return c.chunk(in, binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]),
			binary.BigEndian.Uint64(b[8:]), int64(binary.BigEndian.Uint32(b[16:])))
	}
	return protocolError("not a reply")
}

func (c *conn) simple(in *bufio.Reader, code uint32, cookie uint64) error {
	r, err := c.find(cookie)
	if err != nil {
		return err
	}
	switch {
	case code != 0:
		r.err = &ServerError{Code: code}
	case r.op != cmdRead || c.info.structured:
		return protocolError("simple reply where a structured one is due")
	default:
		if _, err := io.ReadFull(in, r.p); err != nil {
			return err
		}
		r.got = r.length
	}
	c.finish(cookie, r)
	return nil
}

// chunk reads a chunk of a structured reply, whose payload has n bytes.
func (c *conn) chunk(in *bufio.Reader, flags, kind uint16, cookie uint64, n int64) error {
	r, err := c.find(cookie)
	if err != nil {
		return err
	}
	switch {
	case kind == chunkNone && n == 0 && flags&chunkDone != 0:
	case kind == chunkData && n >= 8 && n-8 <= r.length:
		err = r.data(in, n-8)
	case kind == chunkHole && n == 12:
		err = r.hole(in)
	case kind == chunkBlockStatus && n >= 12 && n%8 == 4 && n <= maxStatus:
		err = r.blockStatus(in, n, c.info.allocation)
	case kind&(1<<15) != 0 && n >= 6 && n <= maxMessage+16:
		err = r.failed(in, n)
	default:
		err = protocolError("chunk of type %d with %d bytes", kind, n)
	}
	if err == nil && flags&chunkDone != 0 {
		c.finish(cookie, r)
	}
	return err
}

// place returns the part of the read's buffer for n bytes at the offset that
// comes first in the payload.
func (r *request) place(in *bufio.Reader, n int64) ([]byte, error) {
	var b [8]byte
	if _, err := io.ReadFull(in, b[:]); err != nil {
		return nil, err
	}
	at := int64(binary.BigEndian.Uint64(b[:])) - r.off
	if r.op != cmdRead || at < 0 || at > r.length || n > r.length-at || n > r.length-r.got {
		return nil, protocolError("%d bytes that were not asked for", n)
	}
	r.got += n
	return r.p[at : at+n], nil
}

func (r *request) data(in *bufio.Reader, n int64) error {
	p, err := r.place(in, n)
	if err == nil {
		_, err = io.ReadFull(in, p)
	}
	return err
}

func (r *request) hole(in *bufio.Reader) error {
	head, err := in.Peek(12)
	if err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint32(head[8:]))
	p, err := r.place(in, n)
	if err != nil {
		return err
	}
	clear(p)
	_, err = in.Discard(4)
	return err
}

func (r *request) blockStatus(in *bufio.Reader, n int64, context uint32) error {
	b := make([]byte, n)
	if _, err := io.ReadFull(in, b); err != nil {
		return err
	}
	if r.op != cmdBlockStatus || binary.BigEndian.Uint32(b) != context || len(r.status) > 0 {
		return protocolError("block status that was not asked for")
	}
	for b = b[4:]; len(b) > 0; b = b[8:] {
		e := extent{int64(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[4:])&statusZero != 0}
		if e.length == 0 {
			return protocolError("extent without a length")
		}
		r.status = append(r.status, e)
	}
	return nil
}

func (r *request) failed(in *bufio.Reader, n int64) error {
	b := make([]byte, n)
	if _, err := io.ReadFull(in, b); err != nil {
		return err
	}
	text := b[6:]
	text = text[:min(len(text), int(binary.BigEndian.Uint16(b[4:])))]
	r.err = &ServerError{Code: binary.BigEndian.Uint32(b), Message: string(clip(text))}
	return nil
}

package nbd

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

const (
	// statusSpan is how much of the disk one block status asks for, less the
	// alignment that some servers want.
	statusSpan = 1 << 30
	// attempts bounds the tries of a request; with the pauses below that is a
	// server that is away for half a minute.
	attempts   = 7
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
	// stalls bounds the tries that end by the stall timeout, which take long.
	stalls = 2
)

// Export is an open export. All methods may be called concurrently.
type Export struct {
	o      *options
	target *target
	info   exportInfo
	ctx    context.Context // ends with Close; stops waiting for new connections
	cancel context.CancelFunc

	mu    sync.Mutex // guards what follows
	conns []*slot
	turn  int
	known answer // the last block status
}

// slot is the place of one connection, which may have to be made again.
type slot struct {
	mu sync.Mutex // guards c; held while it is made
	c  *conn
}

// answer is what a block status said of [start, end).
type answer struct {
	start, end int64
	extents    []extent
}

// An Option configures [Dial].
type Option func(*options) error

type options struct {
	conns int
	stall time.Duration
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
}

// WithConnections sets how many connections are used at most, 1 to 16, if the
// server says that it takes several. Default: 4.
func WithConnections(n int) Option {
	return func(o *options) error {
		if n < 1 || n > 16 {
			return pkg.Errorf("%d connections: want 1 to 16: %w", n, fs.ErrInvalid)
		}
		o.conns = n
		return nil
	}
}

// WithStallTimeout sets for how long the server may send nothing before a
// request is repeated on a new connection, 10 ms to 1 h. Default: 60 s.
func WithStallTimeout(d time.Duration) Option {
	return func(o *options) error {
		if d < 10*time.Millisecond || d > time.Hour {
			return pkg.Errorf("stall timeout %v: want 10ms to 1h: %w", d, fs.ErrInvalid)
		}
		o.stall = d
		return nil
	}
}

// WithDialer sets how connections are made. Default: a [net.Dialer].
func WithDialer(dial func(ctx context.Context, network, address string) (net.Conn, error)) Option {
	return func(o *options) error { o.dial = dial; return nil }
}

// Dial opens the export that a URI names:
//
//	nbd://HOST[:PORT]/[EXPORT]        nbd+unix:///[EXPORT]?socket=PATH
//	nbds://HOST[:PORT]/[EXPORT]       nbds+unix:///[EXPORT]?socket=PATH
//
// The parameter tls-certificates=DIR names a directory with ca-cert.pem, and
// client-cert.pem and client-key.pem where the server wants them; tls-hostname is
// the name that the certificate must have. ctx bounds the handshake only.
func Dial(ctx context.Context, uri string, opts ...Option) (*Export, error) {
	o := &options{conns: 4, stall: time.Minute, dial: (&net.Dialer{Timeout: 15 * time.Second}).DialContext}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	t, err := parseURI(uri)
	if err != nil {
		return nil, err
	}
	nc, info, err := connect(ctx, o.dial, t, o.stall)
	if err != nil {
		return nil, err
	}
	e := &Export{o: o, target: t, info: *info, conns: []*slot{{c: newConn(nc, info, o.stall)}}}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	if info.flags&txMultiConn != 0 {
		for range o.conns - 1 {
			e.conns = append(e.conns, &slot{})
		}
	}
	return e, nil
}

// Size returns the bytes of the disk.
func (e *Export) Size() int64 { return e.info.size }

// Name returns the name of the export, often "".
func (e *Export) Name() string { return e.target.export }

// HasHoles reports whether the server tells holes from data.
func (e *Export) HasHoles() bool { return e.info.hasStatus }

// Close ends all connections, and reads that are under way with [ErrClosed].
func (e *Export) Close() error {
	e.cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.conns {
		go s.close() // one that is being made ends by the context
	}
	return nil
}

func (s *slot) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c != nil {
		s.c.close()
	}
}

// ReadAt reads bytes of the disk, as [io.ReaderAt] has it.
func (e *Export) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, pkg.Errorf("read at %d: %w", off, fs.ErrInvalid)
	}
	if off >= e.info.size {
		return 0, io.EOF
	}
	var eof error
	if int64(len(p)) > e.info.size-off {
		p, eof = p[:e.info.size-off], io.EOF
	}
	for n := 0; n < len(p); {
		part := p[n:min(len(p), n+int(e.info.maxPayload))]
		if err := e.read(part, off+int64(n)); err != nil {
			return n, err
		}
		n += len(part)
	}
	return len(p), eof
}

// read reads a range that fits into one request, unless it is not aligned as the
// server wants.
func (e *Export) read(p []byte, off int64) error {
	unit := e.info.minBlock
	start, end := off/unit*unit, min((off+int64(len(p))+unit-1)/unit*unit, e.info.size)
	if start == off && end == off+int64(len(p)) {
		_, err := e.request(&request{op: cmdRead, off: off, length: int64(len(p)), p: p})
		return err
	}
	buf := make([]byte, end-start)
	for from := start; from < end; {
		n := min(end-from, e.info.maxPayload)
		part := buf[from-start : from-start+n]
		if _, err := e.request(&request{op: cmdRead, off: from, length: n, p: part}); err != nil {
			return err
		}
		from += n
	}
	copy(p, buf[off-start:])
	return nil
}

// NextData returns the first range of data [start, end) with end > off, clipped
// to off <= start; io.EOF when only holes and zeros follow. Without the
// server's help all of the disk is data.
func (e *Export) NextData(off int64) (start, end int64, err error) {
	if off < 0 {
		return 0, 0, pkg.Errorf("next data at %d: %w", off, fs.ErrInvalid)
	}
	if !e.info.hasStatus && off < e.info.size {
		return off, e.info.size, nil
	}
	for off < e.info.size {
		a, err := e.status(off)
		if err != nil {
			return 0, 0, err
		}
		if start, end, ok := a.data(off); ok {
			return start, min(end, e.info.size), nil
		}
		off = a.end
	}
	return 0, 0, io.EOF
}

// data returns the first range of data in an answer that ends after off.
func (a *answer) data(off int64) (start, end int64, ok bool) {
	pos := a.start
	for _, x := range a.extents {
		next := pos + x.length
		switch {
		case next > off && !x.zero && !ok:
			start, end, ok = max(pos, off), next, true
		case next > off && !x.zero && end == pos:
			end = next // neighbours
		case ok:
			return start, end, true
		}
		pos = next
	}
	return start, end, ok
}

// status returns what the server says of the disk from off on, or before it.
func (e *Export) status(off int64) (answer, error) {
	e.mu.Lock()
	known := e.known
	e.mu.Unlock()
	if known.start <= off && off < known.end {
		return known, nil
	}
	at := off / e.info.minBlock * e.info.minBlock
	length := min(statusSpan, e.info.size-at)
	r, err := e.request(&request{op: cmdBlockStatus, off: at, length: length})
	if err != nil {
		return answer{}, err
	}
	a := answer{start: at, end: at, extents: r.status}
	for _, x := range r.status {
		a.end += x.length // at most 2^17 of less than 2^32
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known = a
	return a, nil
}

// request sends a request, and again where that may help. It returns the one
// that was answered.
func (e *Export) request(q *request) (*request, error) {
	pause, stalled := firstPause, 0
	for try := 1; ; try++ {
		r := &request{op: q.op, off: q.off, length: q.length, p: q.p}
		err := e.try(r)
		if err == nil {
			return r, nil
		}
		if e.ctx.Err() != nil {
			err = ErrClosed
		}
		if errors.Is(err, ErrStalled) {
			stalled++
		}
		if try == attempts || stalled == stalls || permanent(err) {
			return nil, &RequestError{Op: opName(q.op), Offset: q.off, Length: q.length, Err: err}
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-e.ctx.Done():
		}
		pause = min(pause*2, lastPause)
	}
}

func opName(op uint16) string {
	if op == cmdBlockStatus {
		return "block status"
	}
	return "read"
}

// permanent reports errors that another try does not cure.
func permanent(err error) bool {
	for _, e := range []error{ErrClosed, ErrChanged, ErrProtocol, ErrNoExport, ErrTLSRequired, ErrNoTLS, ErrUnsupported} {
		if errors.Is(err, e) {
			return true
		}
	}
	const einval, eperm, eoverflow, enotsup = 22, 1, 75, 95
	s, ok := errors.AsType[*ServerError](err)
	return ok && (s.Code == einval || s.Code == eperm || s.Code == eoverflow || s.Code == enotsup)
}

// try sends a request once, on the connection whose turn it is.
func (e *Export) try(r *request) error {
	e.mu.Lock()
	s := e.conns[e.turn%len(e.conns)]
	e.turn++
	e.mu.Unlock()
	c, err := e.connection(s)
	if err != nil {
		return err
	}
	return c.do(r)
}

// connection returns the connection of a slot, a new one if it is broken. A
// server that takes no further connection is served by the first one alone.
func (e *Export) connection(s *slot) (*conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c != nil && s.c.broken() == nil {
		return s.c, nil
	}
	if e.ctx.Err() != nil {
		return nil, ErrClosed
	}
	nc, info, err := connect(e.ctx, e.o.dial, e.target, e.o.stall)
	if err != nil {
		if s.c == nil {
			e.drop(s)
		}
		return nil, err
	}
	if info.size != e.info.size {
		_ = nc.Close()
		return nil, pkg.Errorf("%w: it had %d bytes and has %d", ErrChanged, e.info.size, info.size)
	}
	s.c = newConn(nc, info, e.o.stall)
	return s.c, nil
}

// drop gives up a slot that never had a connection.
func (e *Export) drop(s *slot) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, x := range e.conns {
		if x == s && len(e.conns) > 1 {
			e.conns = append(e.conns[:i:i], e.conns[i+1:]...)
			return
		}
	}
}

package cloud

import (
	"context"
	"errors"
	"io"
	"log"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"
)

// ErrStalled means that an attempt moved too little for the whole stall timeout:
// on average less than 100 bytes per second.
var ErrStalled = errors.New("transfer stalled")

const (
	// DefaultStall is the default of Client.Stall.
	DefaultStall = 60 * time.Second
	// leastRate, in bytes per second: each byte that moves buys an attempt 10 ms,
	// up to the stall timeout. One byte per second is a stall.
	leastRate = 100
	// storeRate, in bytes per second, is what the slowest store does with a body
	// once all of it was sent: a proxy that buffers takes it at once, and is then
	// silent until the store is done.
	storeRate = 64 << 10
)

// Client sends single attempts. The zero value is not ready: Transport is
// required.
type Client struct {
	Transport http.RoundTripper
	// Stall ends an attempt in which nothing moves for that long, or less than
	// 100 bytes per second. 0 means DefaultStall. The time in which the source of a body
	// has nothing to send does not count.
	Stall     time.Duration
	UserAgent string // replaces what requests have, if not ""
	Clock     *Clock // notes the time of every answer, if not nil
}

type patienceKey struct{}

// Patient returns a context whose attempts stall only after d, and for which any
// byte is a sign of life: for operations in which a service works in silence.
func Patient(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, patienceKey{}, d)
}

// Do sends one attempt. The answer's body must be closed. Redirects are not
// followed, and nothing is sent twice: each attempt is to be signed and counted.
// Errors of connections that no retry cures are a *PermanentError, except for an
// unknown host (see Permanent).
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	quietLog()
	ctx, cancel := context.WithCancelCause(req.Context())
	stall, anyByte := c.stall(ctx)
	w := newWatchdog(stall, anyByte, cancel)
	// A shallow copy: a RoundTripper must not change the caller's request.
	out := req.WithContext(ctx)
	out.GetBody = nil // net/http would send again by itself
	if c.UserAgent != "" {
		out.Header = req.Header.Clone()
		out.Header.Set("User-Agent", c.UserAgent)
	}
	if req.Body != nil && req.Body != http.NoBody {
		out.Body = &sentBody{ReadCloser: req.Body, dog: w, n: req.ContentLength}
	}
	resp, err := c.Transport.RoundTrip(out)
	if err != nil {
		w.stop()
		err = explain(ctx, err)
		cancel(nil)
		if p := Permanent(err, 1); p != nil {
			p.Host = req.URL.Host
			return nil, p
		}
		return nil, err
	}
	if c.Clock != nil {
		c.Clock.Note(resp.Header)
	}
	w.grant(w.stall)
	resp.Body = &receivedBody{ReadCloser: resp.Body, ctx: ctx, dog: w, cancel: cancel}
	return resp, nil
}

func (c *Client) stall(ctx context.Context) (d time.Duration, anyByte bool) {
	d = c.Stall
	if d == 0 {
		d = DefaultStall
	}
	if p, ok := ctx.Value(patienceKey{}).(time.Duration); ok {
		return max(p, d), true
	}
	return d, false
}

// explain tells a stall, and the caller's reason for the end, from other errors.
func explain(ctx context.Context, err error) error {
	if err == nil || err == io.EOF || ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

// stallError says how long nothing moved.
type stallError struct{ d time.Duration }

func (e *stallError) Error() string {
	return ErrStalled.Error() + ": (almost) no byte moved for " + e.d.String()
}
func (e *stallError) Unwrap() error { return ErrStalled }

// A watchdog ends an attempt whose time has run out. Bytes that move buy time.
type watchdog struct {
	stall   time.Duration
	perByte time.Duration

	mu       sync.Mutex // guards what follows
	timer    *time.Timer
	deadline time.Time
	left     time.Duration // while paused
	paused   bool
	over     bool
}

func newWatchdog(stall time.Duration, anyByte bool, cancel context.CancelCauseFunc) *watchdog {
	w := &watchdog{stall: stall, perByte: time.Second / leastRate, deadline: time.Now().Add(stall)}
	if anyByte {
		w.perByte = stall
	}
	w.timer = time.AfterFunc(stall, func() { cancel(&stallError{stall}) })
	return w
}

// moved notes n bytes.
func (w *watchdog) moved(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || w.paused || n <= 0 {
		return
	}
	left := time.Until(w.deadline)
	if bought := time.Duration(n) * w.perByte; bought/w.perByte == time.Duration(n) && left+bought < w.stall {
		w.reset(left + bought)
	} else if left < w.stall {
		w.reset(w.stall)
	}
}

// reset restarts the clock; w.mu is held.
func (w *watchdog) reset(d time.Duration) {
	w.deadline = time.Now().Add(d)
	w.timer.Reset(d)
}

// pause stops the clock while it is our turn.
func (w *watchdog) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over && !w.paused {
		w.left, w.paused = time.Until(w.deadline), true
		w.timer.Stop()
	}
}

func (w *watchdog) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over && w.paused {
		w.paused = false
		w.reset(max(w.left, 0))
	}
}

// grant sets the time that is left.
func (w *watchdog) grant(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.paused = false
		w.reset(d)
	}
}

func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.timer.Stop()
}

// sentBody is a request's body on its way out.
type sentBody struct {
	io.ReadCloser
	dog *watchdog
	n   int64 // its length, -1 if unknown
	pos int64
}

// Read pauses the clock while the body is read: a limiter may hold it back.
func (b *sentBody) Read(p []byte) (int, error) {
	b.dog.pause()
	n, err := b.ReadCloser.Read(p)
	b.dog.resume()
	b.dog.moved(n)
	b.pos += int64(n)
	if err != nil || b.n >= 0 && b.pos >= b.n {
		b.dog.grant(b.dog.stall + answerTime(b.pos, b.dog.stall))
	}
	return n, err
}

// answerTime returns what the answer to a body of n bytes gets beside the stall
// timeout: not more than that for each MiB, so that one who shortens it is not
// kept waiting.
func answerTime(n int64, stall time.Duration) time.Duration {
	seconds := min(float64(n)/storeRate, float64(n)/(1<<20)*stall.Seconds())
	return time.Duration(seconds * float64(time.Second))
}

// receivedBody is an answer's body on its way in.
type receivedBody struct {
	io.ReadCloser
	ctx    context.Context // of this attempt alone
	dog    *watchdog
	cancel context.CancelCauseFunc
}

func (b *receivedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.dog.moved(n)
	return n, explain(b.ctx, err)
}

// Close ends the attempt. What is left of the body is not read.
func (b *receivedBody) Close() error {
	b.dog.stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}

// LimitBody fails with err once more than n bytes were read of an answer's body.
func LimitBody(body io.ReadCloser, n int64, err error) io.ReadCloser {
	if n == math.MaxInt64 {
		return body
	}
	return &limitedBody{body, n, err}
}

type limitedBody struct {
	io.ReadCloser
	left int64
	err  error
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, b.err
	}
	return n, err
}

// unsolicited begins the line in which net/http writes bytes that a server sent
// without being asked to the standard logger. A server that returns what it was
// sent gets a security token into the application's log that way, and net/http
// has no setting for it.
const unsolicited = "Unsolicited response received on idle HTTP channel"

// quietLog takes the server's bytes out of that line. It is called before each
// attempt because an application may set its log's output at any time.
func quietLog() {
	quieting.Lock()
	defer quieting.Unlock()
	if w := log.Writer(); w != io.Discard {
		if _, ok := w.(quietWriter); !ok {
			log.SetOutput(quietWriter{w})
		}
	}
}

var quieting sync.Mutex // makes looking and setting one step

type quietWriter struct{ io.Writer }

func (w quietWriter) Write(line []byte) (int, error) {
	if i := strings.Index(string(line), unsolicited); i >= 0 {
		_, err := w.Writer.Write(append(line[:i+len(unsolicited):i+len(unsolicited)], '\n'))
		return len(line), err
	}
	return w.Writer.Write(line)
}

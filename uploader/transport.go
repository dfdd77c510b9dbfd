package uploader

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// A meter counts what one upload moves and holds it to its rate. It travels to
// the transport in the request's context, because the SDK has no other way for
// a value to reach it.
type meter struct {
	wire     atomic.Int64 // bytes of content handed to the network, resent ones included
	inflight atomic.Int64 // of these, bytes of attempts that have not ended yet
	retries  atomic.Int64
	limiter  *rate.Limiter // nil: no limit
	onRetry  func(Retry)   // nil: not reported
}

type meterKey struct{}

func withMeter(ctx context.Context, m *meter) context.Context {
	return context.WithValue(ctx, meterKey{}, m)
}

func meterFrom(ctx context.Context) *meter {
	m, _ := ctx.Value(meterKey{}).(*meter)
	return m
}

type stallKey struct{}

// withStall overrides the stall timeout for operations in which the service
// works long without moving a byte.
func withStall(ctx context.Context, d time.Duration) context.Context {
	return context.WithValue(ctx, stallKey{}, d)
}

// doer is the SDK's HTTP client: it ends attempts in which no byte moves,
// counts and limits request bodies.
type doer struct {
	http  *http.Client
	stall time.Duration
}

// Do implements s3.HTTPClient.
func (d *doer) Do(req *http.Request) (*http.Response, error) {
	stall := d.stall
	if v, ok := req.Context().Value(stallKey{}).(time.Duration); ok && v > stall {
		stall = v
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	w := newWatchdog(stall, cancel)
	m := meterFrom(ctx)
	if req.Method != http.MethodPut {
		m = nil // the list of parts that completes an upload is no content
	}
	req = req.WithContext(ctx)
	var body *sentBody
	if req.Body != nil && req.Body != http.NoBody {
		body = &sentBody{rc: req.Body, ctx: ctx, dog: w, m: m}
		req.Body = body
		// net/http would resend on its own through GetBody: every attempt is
		// signed anew and counted, so it must not.
		req.GetBody = nil
	}
	resp, err := d.http.Do(req)
	if body != nil {
		body.done()
	}
	if err != nil {
		w.stop()
		cancel(nil)
		return nil, w.explain(ctx, err)
	}
	resp.Body = &receivedBody{rc: resp.Body, ctx: ctx, dog: w, cancel: cancel, left: answerLimit(req, resp)}
	return resp, nil
}

// A watchdog cancels an attempt when no byte moved for the stall timeout.
type watchdog struct {
	d     time.Duration
	mu    sync.Mutex // guards timer and over
	timer *time.Timer
	over  bool
}

func newWatchdog(d time.Duration, cancel context.CancelCauseFunc) *watchdog {
	w := &watchdog{d: d}
	w.timer = time.AfterFunc(d, func() { cancel(ErrStalled) })
	return w
}

func (w *watchdog) touch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.timer.Reset(w.d)
	}
}

// pause stops the clock while we wait for our own rate limit.
func (w *watchdog) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
}

func (w *watchdog) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	w.timer.Stop()
}

// explain tells a stall apart from the caller's cancellation.
func (w *watchdog) explain(ctx context.Context, err error) error {
	if err != nil && err != io.EOF && context.Cause(ctx) == ErrStalled {
		return &markedError{ErrStalled, errNoByte{w.d}}
	}
	return err
}

type errNoByte struct{ d time.Duration }

func (e errNoByte) Error() string { return "no byte moved for " + e.d.String() }

// sentBody is a request body on its way out.
type sentBody struct {
	rc   io.ReadCloser
	ctx  context.Context // of this attempt alone
	dog  *watchdog
	m    *meter
	mu   sync.Mutex // guards sent and over: the transport may read on after Do returned
	sent int64
	over bool
}

func (b *sentBody) Read(p []byte) (int, error) {
	if b.m != nil && b.m.limiter != nil {
		if burst := b.m.limiter.Burst(); len(p) > burst {
			p = p[:burst]
		}
	}
	n, err := b.rc.Read(p)
	if n > 0 {
		b.account(int64(n))
		if lerr := b.limit(n); lerr != nil {
			return n, lerr
		}
		b.dog.touch()
	}
	return n, err
}

func (b *sentBody) limit(n int) error {
	if b.m == nil || b.m.limiter == nil {
		return nil
	}
	b.dog.pause()
	return b.m.limiter.WaitN(b.ctx, n)
}

func (b *sentBody) account(n int64) {
	if b.m == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m.wire.Add(n)
	if !b.over {
		b.sent += n
		b.m.inflight.Add(n)
	}
}

// done takes the attempt's bytes out of the in-flight count: from here on the
// part is either finished or to be sent again.
func (b *sentBody) done() {
	if b.m == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	b.m.inflight.Add(-b.sent)
}

func (b *sentBody) Close() error { return b.rc.Close() }

const (
	// More than the largest listing: a thousand keys of 1024 bytes, all escaped.
	maxAnswer      = 8 << 20
	maxErrorAnswer = 256 << 10
)

// answerLimit bounds what is parsed; the content of an object is read by its
// length, into a buffer that is there.
func answerLimit(req *http.Request, resp *http.Response) int64 {
	switch {
	case resp.StatusCode >= 300:
		return maxErrorAnswer
	case req.Header.Get("Range") != "":
		return math.MaxInt64
	}
	return maxAnswer
}

// receivedBody is an answer's body on its way in.
type receivedBody struct {
	rc     io.ReadCloser
	ctx    context.Context // of this attempt alone
	dog    *watchdog
	cancel context.CancelCauseFunc
	left   int64
}

func (b *receivedBody) Read(p []byte) (int, error) {
	n, err := b.rc.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &finalError{&markedError{ErrAnswer, errors.New("too long")}}
	}
	if n > 0 {
		b.dog.touch()
	}
	return n, b.dog.explain(b.ctx, err)
}

func (b *receivedBody) Close() error {
	err := b.rc.Close()
	b.dog.stop()
	b.cancel(nil)
	return err
}

// Package ctxio reads from sources that know no context and may block for ever:
// a pipe whose writer hangs, a disk behind a network that is gone.
package ctxio

import (
	"context"
	"io"
)

// Do calls f in a goroutine of its own and returns when it does, or with the
// context's cause when the context ends first. Then f runs on until what blocks
// it lets go: it must not share with its caller what the caller uses afterwards.
func Do[T any](ctx context.Context, f func() (T, error)) (T, error) {
	if ctx.Err() != nil {
		var none T
		return none, context.Cause(ctx)
	}
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// bufferSize is what a Reader reads at once: few changes between goroutines,
// and little to copy again.
const bufferSize = 256 << 10

// NewReader returns a reader of r whose Read returns the context's cause as soon
// as the context ends, even if r's Read blocks. It reads ahead by at most
// 256 KiB; the goroutine that reads ends with the context, once r's Read has
// returned, or with r's error. The context must end at some time.
func NewReader(ctx context.Context, r io.Reader) io.Reader {
	return &reader{ctx: ctx, r: r, full: make(chan []byte), empty: make(chan []byte, 1)}
}

type reader struct {
	ctx   context.Context // of this reader
	r     io.Reader
	begun bool
	full  chan []byte // what was read; closed after err is set
	empty chan []byte // buffers to read into
	err   error
	cur   []byte // rest of buf
	buf   []byte
}

func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	if !r.begun {
		r.begun = true
		r.empty <- make([]byte, bufferSize)
		go r.pump()
	}
	if len(r.cur) == 0 {
		if r.buf != nil {
			r.empty <- r.buf[:cap(r.buf)]
			r.buf = nil
		}
		select {
		case b, ok := <-r.full:
			if !ok && r.err == nil {
				return 0, context.Cause(r.ctx)
			}
			if !ok {
				return 0, r.err
			}
			r.cur, r.buf = b, b
		case <-r.ctx.Done():
			return 0, context.Cause(r.ctx)
		}
	}
	n := copy(p, r.cur)
	r.cur = r.cur[n:]
	return n, nil
}

// pump reads while there is a buffer. Two buffers are never under way: what is
// read is handed over before the next is asked for.
func (r *reader) pump() {
	defer close(r.full)
	idle := 0
	for {
		var b []byte
		select {
		case b = <-r.empty:
		case <-r.ctx.Done():
			return
		}
		for {
			n, err := r.r.Read(b)
			if n > 0 {
				idle = 0
				select {
				case r.full <- b[:n]:
				case <-r.ctx.Done():
					return
				}
			}
			if err != nil {
				r.err = err
				return
			}
			if n > 0 {
				break
			}
			if idle++; idle == 100 {
				r.err = io.ErrNoProgress
				return
			}
		}
	}
}

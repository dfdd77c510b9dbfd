package quickimport

import (
	"context"
	"io"
	"sync"
)

// headSize is how much of a stream is looked at before it is read: enough for
// every partition table, and what a look at the firmware needs.
const headSize = 1 << 20

// headReader is a reader whose first bytes can be looked at first, more than
// once.
type headReader struct {
	r io.Reader

	mu   sync.Mutex // guards what follows
	head []byte     // what was looked at
	err  error      // that ended it
	done bool       // head is complete
	pos  int        // how much of head was read
	read bool       // something was read
}

// peek returns the first headSize bytes, or all there are. A Read of the source
// that blocks does not keep peek from ending with ctx.
func (h *headReader) peek(ctx context.Context) ([]byte, error) {
	got := make(chan struct{})
	go func() {
		defer close(got)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.fill()
	}()
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-got:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil && h.err != io.EOF {
		return nil, h.err
	}
	return h.head, nil
}

func (h *headReader) fill() {
	if h.done {
		return
	}
	h.head = make([]byte, headSize)
	n, err := io.ReadFull(h.r, h.head)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	h.head, h.err, h.done = h.head[:n], err, true
}

// used reports whether the bytes are being read.
func (h *headReader) used() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.read
}

// Read reads the source from its first byte.
func (h *headReader) Read(p []byte) (int, error) {
	h.mu.Lock()
	h.read = true
	if h.pos < len(h.head) {
		n := copy(p, h.head[h.pos:])
		h.pos += n
		h.mu.Unlock()
		return n, nil
	}
	err := h.err
	h.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return h.r.Read(p) // outside of the lock: it may block
}

package imstest

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"time"
)

// delay runs the fault's hook and lets its delay pass, unless the client goes away.
func (f *Fault) delay(r *http.Request) {
	if f.Hook != nil {
		f.Hook()
	}
	pause(r, f.Delay)
}

// pause waits until d has passed or the connection is closed.
func pause(r *http.Request, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.Context().Done():
	}
}

// closeConnection ends the connection without an answer.
func (f *Fault) closeConnection(w http.ResponseWriter) {
	if !f.Reset {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // Close sends RST
	}
	_ = conn.Close()
}

// writer returns where the answer goes. The caller calls finish in the end.
func (f *Fault) writer(w http.ResponseWriter, r *http.Request, rec *Request) (_ http.ResponseWriter, finish func()) {
	if f.has(QuirkUnsolicited) {
		b := &buffered{header: w.Header()}
		return b, func() { b.sendTwice(w, rec) }
	}
	if f.AnswerDelay == 0 && f.CutAfter == 0 && f.Trickle == 0 {
		return w, func() {}
	}
	return &slowWriter{ResponseWriter: w, r: r, f: f}, func() {}
}

// statusWriter records the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status    int
	succeeded func() // is called before an answer of success is sent; may be nil
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) WriteHeader(status int) {
	if w.status != 0 {
		return // an error in the middle of a body shows as a broken connection
	}
	w.status = status
	if w.succeeded != nil && status < http.StatusMultipleChoices {
		w.succeeded()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// discard drops an answer that the client must not get.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// slowWriter sends an answer late, in part, or a byte at a time.
type slowWriter struct {
	http.ResponseWriter
	r    *http.Request
	f    *Fault
	sent int64 // bytes of the body
	head bool
}

func (w *slowWriter) WriteHeader(status int) {
	if w.head {
		return
	}
	w.head = true
	pause(w.r, w.f.AnswerDelay)
	w.ResponseWriter.WriteHeader(status)
}

func (w *slowWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.f.CutAfter == 0 && w.f.Trickle == 0 {
		return w.ResponseWriter.Write(p)
	}
	n := int(min(int64(len(p)), max(w.f.CutAfter-w.sent, 0)))
	if err := w.send(p[:n]); err != nil || n == len(p) {
		return n, err
	}
	if w.f.Trickle == 0 {
		panic(http.ErrAbortHandler)
	}
	for ; n < len(p); n++ {
		pause(w.r, w.f.Trickle)
		if err := w.send(p[n : n+1]); err != nil {
			return n, err
		}
		if w.r.Context().Err() != nil {
			panic(http.ErrAbortHandler)
		}
	}
	return n, nil
}

func (w *slowWriter) send(p []byte) error {
	n, err := w.ResponseWriter.Write(p)
	w.sent += int64(n)
	if err == nil {
		err = http.NewResponseController(w.ResponseWriter).Flush()
	}
	return err
}

// buffered keeps an answer.
type buffered struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (b *buffered) Header() http.Header { return b.header }
func (b *buffered) WriteHeader(status int) {
	if b.status == 0 {
		b.status = status
	}
}
func (b *buffered) Write(p []byte) (int, error) {
	b.WriteHeader(http.StatusOK)
	return b.body.Write(p)
}

// sendTwice sends the answer followed by the request as an unsolicited second
// answer, whose first bytes net/http's client logs.
func (b *buffered) sendTwice(w http.ResponseWriter, rec *Request) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer conn.Close()
	if b.status == 0 {
		return // nothing was answered
	}
	b.header.Set("Content-Length", fmt.Sprint(b.body.Len()))
	fmt.Fprintf(rw, "HTTP/1.1 %d %s\r\n", b.status, http.StatusText(b.status))
	_ = b.header.Write(rw)
	_, _ = rw.WriteString("\r\n")
	_, _ = rw.Write(b.body.Bytes())
	_, _ = rw.WriteString(rec.echo())
	_ = rw.Flush()
}

package uploader

import (
	"sync"
	"sync/atomic"
	"time"
)

// Progress is a snapshot of an upload.
type Progress struct {
	Done    int64  // bytes of the object that are on the server, parts in flight included
	Total   int64  // size of the object; for a stream its upper bound
	Wire    int64  // bytes of request bodies sent, resent ones included
	Copied  int64  // bytes made on the server by copying
	Resumed int64  // bytes that an earlier run had sent
	Parts   int    // parts finished
	Retries int    // attempts that failed and were made again
	Retry   *Retry // set when the report is made because of a retry
	Final   bool   // the last report
}

// counters are bumped by the workers.
type counters struct {
	done, copied, resumed            atomic.Int64
	parts, resumedParts, copiedParts atomic.Int64
}

// reporter calls the caller's function from one goroutine.
type reporter struct {
	s     *session
	f     func(Progress)
	retry chan Retry
	stop  chan struct{}
	wg    sync.WaitGroup
}

func startReporter(s *session) *reporter {
	r := &reporter{s: s, f: s.opt.progress, retry: make(chan Retry), stop: make(chan struct{})}
	if r.f == nil {
		return r
	}
	r.wg.Add(1)
	go r.loop(s.opt.interval)
	return r
}

// retried counts a retry and reports it.
func (r *reporter) retried(x Retry) {
	r.s.m.retries.Add(1)
	if r.f == nil {
		return
	}
	select {
	case r.retry <- x:
	case <-r.stop:
	}
}

func (r *reporter) loop(every time.Duration) {
	defer r.wg.Done()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.f(r.s.progress())
		case x := <-r.retry:
			p := r.s.progress()
			p.Retry = &x
			r.f(p)
		case <-r.stop:
			p := r.s.progress()
			p.Final = true
			r.f(p)
			return
		}
	}
}

// finish makes the last report and waits for it.
func (r *reporter) finish() {
	close(r.stop)
	r.wg.Wait()
}

func (s *session) progress() Progress {
	done := s.n.done.Load()
	return Progress{
		Done: min(done+s.m.inflight.Load(), s.size), Total: s.size,
		Wire: s.m.wire.Load(), Copied: s.n.copied.Load(), Resumed: s.n.resumed.Load(),
		Parts: int(s.n.parts.Load()), Retries: int(s.m.retries.Load()),
	}
}

package zvhd2

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// pipeline runs jobs of type T through workers and hands the results on in the
// order in which they were produced. Jobs are made once and recycled, so a run
// allocates no more than its depth, whatever the disk's size.
type pipeline[T any] struct {
	workers int
	produce func(emit func(fill func(*T)) error) error // in one goroutine
	work    func(worker int, job *T) error             // concurrently; nil: nothing to do
	consume func(job *T) error                         // in order, in one goroutine
	observe func(wait, busy time.Duration)             // may be nil: how long consume waited for a job, and took for it
}

// slot carries a job.
type slot[T any] struct {
	job  T
	err  error
	done chan struct{}
}

// pipelineDepth lets each worker have one block at hand, one finished and one in
// progress; more only costs memory.
func pipelineDepth(workers int) int { return 2*workers + 1 }

// run returns when everything is consumed, or something failed, or ctx ended. In
// the last two cases it waits for consume, which may be writing, and not for
// produce and work: a read that blocks is abandoned, and whatever it returns is
// dropped.
func (p *pipeline[T]) run(ctx context.Context) error {
	parent := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	depth := pipelineDepth(p.workers)
	free, order, jobs := make(chan *slot[T], depth), make(chan *slot[T], depth), make(chan *slot[T], depth)
	for range depth {
		free <- &slot[T]{done: make(chan struct{}, 1)}
	}
	go func() {
		defer close(order)
		defer close(jobs)
		err := p.produce(func(fill func(*T)) error {
			select {
			case s := <-free:
				s.err = nil
				fill(&s.job)
				order <- s // never blocks: order and jobs have room for every slot
				jobs <- s
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if err != nil {
			cancel(err)
		}
	}()
	for i := range p.workers {
		go func() {
			for s := range jobs {
				if ctx.Err() == nil && p.work != nil {
					s.err = p.work(i, &s.job)
				}
				s.done <- struct{}{}
			}
		}()
	}
	err := p.drain(ctx, order, free)
	if parent.Err() != nil {
		return context.Cause(parent)
	}
	return err
}

func (p *pipeline[T]) drain(ctx context.Context, order <-chan *slot[T], free chan<- *slot[T]) error {
	idle := time.Now()
	for {
		var s *slot[T]
		var more bool
		select {
		case s, more = <-order:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if !more {
			return context.Cause(ctx) // nil unless produce failed
		}
		select {
		case <-s.done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if s.err != nil {
			return s.err
		}
		ready := time.Now()
		if err := p.consume(&s.job); err != nil {
			return err
		}
		free <- s
		if p.observe != nil {
			p.observe(ready.Sub(idle), time.Since(ready))
		}
		idle = time.Now()
	}
}

// forEach runs work over the values that produce emits, in no order. When
// something failed or ctx ended, it returns at once: whatever is in progress then
// is abandoned, see [gate].
func forEach[T any](ctx context.Context, workers int, produce func(emit func(T) error) error, work func(worker int, v T) error) error {
	parent := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	jobs := make(chan T)
	var g errgroup.Group
	run := func(f func() error) {
		g.Go(func() error {
			err := f()
			if err != nil {
				cancel(err)
			}
			return err
		})
	}
	run(func() error {
		defer close(jobs)
		return produce(func(v T) error {
			select {
			case jobs <- v:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	for i := range workers {
		run(func() error {
			for v := range jobs {
				if err := work(i, v); err != nil {
					return err
				}
			}
			return nil
		})
	}
	done := make(chan error, 1)
	go func() { done <- g.Wait() }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if parent.Err() != nil {
		return context.Cause(parent)
	}
	return err
}

// await returns what f returns, or the cause of ctx as soon as that ends: then f
// is abandoned, since a read in it may block for ever. So f must not write to
// anything of the caller's but through a gate.
func await[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		val T
		err error
	}
	var none T
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	done := make(chan result, 1)
	go func() {
		val, err := f()
		done <- result{val, err}
	}()
	select {
	case r := <-done:
		return r.val, r.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}

// gate is what abandoned goroutines have to pass before they touch something of
// the caller's.
type gate struct {
	mu     sync.RWMutex // held for reading while somebody is inside
	closed bool
}

// pass calls f unless the gate is closed.
func (g *gate) pass(f func() error) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.closed {
		return context.Canceled
	}
	return f()
}

// close lets nobody in any more and waits for those inside.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

package zvhd2

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

// slot is one block on its way through a pipeline. Slots are made once and go
// round, so a run allocates no more than its depth, whatever the disk's size.
type slot struct {
	block int64
	buf   []byte // kept with the slot: what the worker made
	in    []byte // kept with the slot: what the producer hands in, if it hands in data
	out   []byte // the worker's result; nil: a zero block
	index int    // for the producer to tell the worker something
	tag   int    // for the worker to tell the consumer something
	err   error
	done  chan struct{}
}

// pipeline runs blocks through workers and hands the results on in the order
// in which they were produced.
type pipeline struct {
	workers int
	depth   int                                           // blocks between producer and consumer
	produce func(emit func(fill func(*slot)) error) error // in one goroutine
	work    func(worker int, s *slot) error               // concurrently
	consume func(s *slot) error                           // in order, in one goroutine
	observe func(wait, busy time.Duration)                // may be nil: how long consume waited for a block, and took for it
}

// depthFor lets each worker have one block at hand, one finished and one in
// the making; more only costs memory.
func depthFor(workers int) int { return 2*workers + 1 }

func (p *pipeline) run(ctx context.Context) error {
	parent := ctx
	g, ctx := errgroup.WithContext(ctx)
	free := make(chan *slot, p.depth)
	order := make(chan *slot, p.depth)
	jobs := make(chan *slot, p.depth)
	for range p.depth {
		free <- &slot{done: make(chan struct{}, 1)}
	}
	g.Go(func() error {
		defer close(jobs)
		defer close(order)
		return p.produce(func(fill func(*slot)) error {
			select {
			case s := <-free:
				s.out, s.tag, s.err = nil, 0, nil
				fill(s)
				order <- s // never blocks: order and jobs hold every slot
				jobs <- s
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	for i := range p.workers {
		g.Go(func() error {
			for s := range jobs {
				if ctx.Err() == nil {
					s.err = p.work(i, s)
				}
				s.done <- struct{}{}
			}
			return nil
		})
	}
	g.Go(func() error { return p.drain(ctx, order, free) })
	err := g.Wait()
	if cerr := parent.Err(); cerr != nil {
		return context.Cause(parent)
	}
	return err
}

func (p *pipeline) drain(ctx context.Context, order <-chan *slot, free chan<- *slot) error {
	idle := time.Now()
	for s := range order {
		select {
		case <-s.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.err != nil {
			return s.err
		}
		ready := time.Now()
		if err := p.consume(s); err != nil {
			return err
		}
		free <- s
		if p.observe != nil {
			p.observe(ready.Sub(idle), time.Since(ready))
		}
		idle = time.Now()
	}
	return nil
}

// forEach runs work over the blocks that produce emits, in no order.
func forEach(ctx context.Context, workers int, produce func(emit func(block int64) error) error, work func(worker int, block int64) error) error {
	parent := ctx
	g, ctx := errgroup.WithContext(ctx)
	jobs := make(chan int64)
	g.Go(func() error {
		defer close(jobs)
		return produce(func(block int64) error {
			select {
			case jobs <- block:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	for i := range workers {
		g.Go(func() error {
			for block := range jobs {
				if err := work(i, block); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	if parent.Err() != nil {
		return context.Cause(parent)
	}
	return err
}

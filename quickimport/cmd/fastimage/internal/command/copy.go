package command

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
)

const copyBlock = 2 << 20 // what is read at once

// copy writes a disk as RAW: with holes into a file, whole to anything else.
func (s *source) copy(ctx context.Context, out *output, res *converted, show display) error {
	c := &copier{out: out, show: show, total: s.Size()}
	res.FileSize = s.Size()
	res.detail = ""
	var err error
	switch {
	case s.Disk != nil && out.raw != nil:
		err = c.extents(ctx, s.Disk)
	case s.Disk != nil:
		err = c.sequence(ctx, io.NewSectionReader(s.Disk, 0, s.Size()))
	default:
		err = c.sequence(ctx, s.Forward)
	}
	if err != nil {
		return err
	}
	data := c.written()
	res.DataBytes = &data
	res.detail = ", data " + size(data)
	return nil
}

// copier writes a disk to a file.
type copier struct {
	out   *output
	show  display
	total int64

	done, data atomic.Int64 // bytes dealt with; of these, written to something that has no holes
}

// extents copies the data of a disk, blocks in parallel and in no order.
func (c *copier) extents(ctx context.Context, im *anyimage.Disk) error {
	g, gctx := errgroup.WithContext(ctx)
	blocks := make(chan rawimage.Extent)
	g.Go(func() error {
		defer close(blocks)
		for e, err := range im.Extents() {
			if err != nil {
				return err
			}
			for off := e.Offset; off < e.End(); {
				n := min(copyBlock-off%copyBlock, e.End()-off)
				select {
				case blocks <- rawimage.Extent{Offset: off, Length: n}:
				case <-gctx.Done():
					return gctx.Err()
				}
				off += n
			}
		}
		return nil
	})
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			buf := make([]byte, copyBlock)
			for b := range blocks {
				p := buf[:b.Length]
				if _, err := im.ReadAt(p, b.Offset); err != nil {
					return err
				}
				if err := c.put(p, b.Offset); err != nil {
					return err
				}
				c.report(b.End())
			}
			return nil
		})
	}
	err := g.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err == nil {
		c.report(c.total)
	}
	return err
}

// sequence copies a disk from its start to its end.
func (c *copier) sequence(ctx context.Context, r io.Reader) error {
	buf := make([]byte, copyBlock)
	for off := int64(0); ; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := io.ReadFull(r, buf)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return err
		}
		if perr := c.put(buf[:n], off); perr != nil {
			return perr
		}
		off += int64(n)
		c.report(off)
		if err == nil {
			continue
		}
		if off != c.total {
			return fmt.Errorf("read at %d: %w", off, io.ErrUnexpectedEOF)
		}
		return nil
	}
}

// put writes a block, without its zeros if it can.
func (c *copier) put(p []byte, off int64) error {
	if c.out.raw != nil {
		_, err := c.out.raw.WriteAt(p, off)
		return err
	}
	n, err := c.out.Write(p)
	c.data.Add(int64(n))
	return err
}

// written is how many bytes were written, without the zeros left out.
func (c *copier) written() int64 {
	if c.out.raw != nil {
		return c.out.raw.Written()
	}
	return c.data.Load()
}

// report says that the disk is copied up to end, or about.
func (c *copier) report(end int64) {
	for {
		was := c.done.Load()
		if end <= was || c.done.CompareAndSwap(was, end) {
			break
		}
	}
	written := c.written()
	done := c.done.Load()
	c.show.show(step{phase: "convert", done: done, total: c.total, skipped: max(0, done-written), written: written})
}

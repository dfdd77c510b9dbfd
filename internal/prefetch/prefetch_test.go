package prefetch_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/prefetch"
	"github.com/fastimage/fastimage/internal/sparse/sparsetest"
)

// counted is a disk with data in every third MiB that counts what is read.
type counted struct {
	data  []byte
	bytes atomic.Int64
	gate  func() // called by each read, if not nil
	err   error
}

func newCounted(n int) *counted {
	c := &counted{data: make([]byte, n)}
	rnd := rand.NewChaCha8([32]byte{5})
	for off := 0; off < n; off += 3 << 20 {
		_, _ = rnd.Read(c.data[off:min(off+1<<20, n)])
	}
	return c
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	if c.gate != nil {
		c.gate()
	}
	c.bytes.Add(int64(len(p)))
	if c.err != nil {
		return 0, c.err
	}
	return bytes.NewReader(c.data).ReadAt(p, off)
}

func (c *counted) NextData(off int64) (start, end int64, err error) {
	for at := off / (3 << 20) * (3 << 20); at < int64(len(c.data)); at += 3 << 20 {
		if end := min(at+1<<20, int64(len(c.data))); end > off {
			return max(at, off), end, nil
		}
	}
	return 0, 0, io.EOF
}

// Consumers in disk order get the disk, and its data is read once.
func TestInOrder(t *testing.T) {
	t.Parallel()
	src := newCounted(50<<20 + 777)
	size := int64(len(src.data))
	d := prefetch.New(context.Background(), src, size, 4)
	defer d.Close()
	d.Start()
	got := make([]byte, size)
	units := make(chan int64)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for off := range units {
				for pos := off; pos < min(off+2<<20, size); {
					start, end, err := d.NextData(pos)
					if err == io.EOF || start >= off+2<<20 {
						break
					}
					pos = min(end, start+128<<10, off+2<<20)
					if _, err := d.ReadAt(got[start:pos], start); err != nil && err != io.EOF {
						t.Errorf("at %d: %v", start, err)
					}
				}
			}
		})
	}
	for off := int64(0); off < size; off += 2 << 20 {
		units <- off
	}
	close(units)
	wg.Wait()
	require.True(t, bytes.Equal(src.data, got))
	require.LessOrEqual(t, src.bytes.Load(), 17*int64(1<<20))
}

// Any order is right.
func TestRandomOrder(t *testing.T) {
	t.Parallel()
	src := newCounted(20 << 20)
	d := prefetch.New(context.Background(), src, 20<<20, 3)
	defer d.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		off := rnd.Int64N(20 << 20)
		p := make([]byte, rnd.Int64N(5<<20))
		n, err := d.ReadAt(p, off)
		want := src.data[off:min(off+int64(len(p)), 20<<20)]
		require.True(t, bytes.Equal(want, p[:n]), "%d at %d: %v", len(p), off, err)
	}
	sparsetest.Check(t, d, 20<<20)
}

// As many reads are under way as were asked for, and no more.
func TestBound(t *testing.T) {
	t.Parallel()
	src := newCounted(60 << 20)
	entered, leave := make(chan struct{}, 100), make(chan struct{})
	src.gate = func() { entered <- struct{}{}; <-leave }
	d := prefetch.New(context.Background(), src, 60<<20, 4)
	go func() { _, _ = d.ReadAt(make([]byte, 1<<20), 0) }()
	for range 4 {
		<-entered
	}
	// The first of them may have been taken, which makes room for another.
	select {
	case <-entered:
	case <-time.After(time.Millisecond):
	}
	select {
	case <-entered:
		t.Fatal("too many reads")
	default:
	}
	close(leave)
	d.Close()
}

func TestFails(t *testing.T) {
	t.Parallel()
	src := newCounted(9 << 20)
	src.err = errors.New("broken")
	d := prefetch.New(context.Background(), src, 9<<20, 2)
	defer d.Close()
	for _, n := range []int{10, 1 << 20} {
		_, err := d.ReadAt(make([]byte, n), 0)
		require.ErrorIs(t, err, src.err)
	}
}

// A disk is read from its start more than once.
func TestSecondPass(t *testing.T) {
	t.Parallel()
	src := newCounted(30 << 20)
	d := prefetch.New(context.Background(), src, 30<<20, 3)
	defer d.Close()
	for range 3 {
		got, err := io.ReadAll(io.NewSectionReader(d, 0, 30<<20))
		require.NoError(t, err)
		require.True(t, bytes.Equal(src.data, got))
	}
}

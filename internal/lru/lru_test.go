package lru_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/lru"
)

// A value that many want is loaded once, the bound holds, and failures are not
// kept.
func TestCache(t *testing.T) {
	t.Parallel()
	c := lru.New[int, int](20_000)
	var loads atomic.Int64
	get := func(k int) (int, error) {
		return c.Get(k, 9_000, func() (int, error) { loads.Add(1); return k * k, nil })
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			v, err := get(7)
			if v != 49 || err != nil {
				t.Errorf("got %d, %v", v, err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, loads.Load())
	for _, k := range []int{1, 7, 2, 7, 1} { // 1 has to go for 2: 7 is younger
		_, err := get(k)
		require.NoError(t, err)
	}
	require.EqualValues(t, 4, loads.Load())
	broken := errors.New("broken")
	_, err := c.Get(99, 100_000, func() (int, error) { return 0, broken })
	require.ErrorIs(t, err, broken)
	v, err := get(99)
	require.NoError(t, err)
	require.Equal(t, 9801, v)
}

// Tiny values count for what an entry takes, not only for their bytes.
func TestOverhead(t *testing.T) {
	t.Parallel()
	c := lru.New[int, int](10_000)
	loads := 0
	for range 2 {
		for k := range 1000 {
			_, err := c.Get(k, 1, func() (int, error) { loads++; return k, nil })
			require.NoError(t, err)
		}
	}
	require.Equal(t, 2000, loads)
}

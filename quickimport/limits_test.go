package quickimport_test

import (
	"bytes"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// gauge counts parts in flight, and the most there were.
type gauge struct{ now, most atomic.Int32 }

func (g *gauge) RoundTrip(r *http.Request) (*http.Response, error) {
	if !r.URL.Query().Has("partNumber") {
		return http.DefaultTransport.RoundTrip(r)
	}
	n := g.now.Add(1)
	defer g.now.Add(-1)
	for most := g.most.Load(); n > most && !g.most.CompareAndSwap(most, n); most = g.most.Load() {
	}
	return http.DefaultTransport.RoundTrip(r)
}

// All imports of a client share its limits, and each makes progress within the
// smallest of them.
func TestLimitsAreShared(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	var parts gauge
	c := cloudClient(t, srv, quickimport.WithTransport(&parts),
		quickimport.WithLimits(quickimport.Limits{Parts: 2, Encoders: 1, BufferedBytes: 16 << 20, BytesPerSecond: 1 << 30}))
	disk := noise(12 << 20)
	var items []quickimport.Item
	for i := range 5 {
		img := dataImage(srv.Bucket())
		img.Name = fmt.Sprint("limited-", i)
		items = append(items, quickimport.Item{
			Source: quickimport.Disk(bytes.NewReader(disk), int64(len(disk)), quickimport.SourceInfo{}), Image: img,
			Options: []quickimport.ImportOption{quickimport.WithPartSize(5 << 20), quickimport.WithConcurrency(4)},
		})
	}
	outcomes, err := c.ImportAll(t.Context(), items, len(items), nil)
	require.NoError(t, err)
	for _, o := range outcomes {
		require.NoError(t, o.Err)
	}
	require.Len(t, srv.Images(), len(items))
	require.LessOrEqual(t, parts.most.Load(), int32(2))
	require.Positive(t, parts.most.Load())
}

// The rate is that of all imports together.
func TestRateIsShared(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	c := cloudClient(t, srv, quickimport.WithLimits(quickimport.Limits{BytesPerSecond: 4 << 20}))
	disk := noise(2 << 20)
	var items []quickimport.Item
	for i := range 3 {
		img := dataImage(srv.Bucket())
		img.Name = fmt.Sprint("slow-", i)
		items = append(items, quickimport.Item{Source: quickimport.Disk(bytes.NewReader(disk), int64(len(disk)), quickimport.SourceInfo{}), Image: img})
	}
	began := time.Now()
	_, err := c.ImportAll(t.Context(), items, len(items), nil)
	require.NoError(t, err)
	require.Greater(t, time.Since(began), time.Second, "6 MiB at 4 MiB a second")
	require.Len(t, srv.Images(), len(items))
}

// Limits that make no sense are an error of New.
func TestLimitsOutOfRange(t *testing.T) {
	srv := imstest.NewServer(t)
	for _, l := range []quickimport.Limits{{Parts: -1}, {Parts: 1025}, {Encoders: -1}, {BufferedBytes: 1}, {BytesPerSecond: 100}} {
		_, err := quickimport.New(append(srv.Options(), quickimport.WithLimits(l))...)
		require.ErrorContains(t, err, "limits", "%+v", l)
	}
}

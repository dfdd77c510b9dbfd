package quickimport_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
	"github.com/fastimage/fastimage/rawimage/qcow2"
)

// BenchmarkImportHTTP imports a QCOW2 of 512 MiB of noise and text over HTTP on
// loopback, and reports the time of what users do today, curl to a file and an
// import of that file, as a multiple, and the disk space that each needs.
func BenchmarkImportHTTP(b *testing.B) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		b.Skip("curl is missing")
	}
	dir := b.TempDir()
	name := filepath.Join(dir, "disk.qcow2")
	f, err := os.Create(name)
	require.NoError(b, err)
	sum, err := qcow2.Encode(context.Background(), f, newScattered(512<<20), 100<<30)
	require.NoError(b, err)
	require.NoError(b, f.Close())
	h := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer h.Close()
	u := h.URL + "/disk.qcow2"
	run := func(src quickimport.Source) time.Duration {
		srv := imstest.NewServer(b)
		start := time.Now()
		_, err := cloudClient(b, srv).Import(context.Background(), src, demo(srv.Bucket()))
		require.NoError(b, err)
		return time.Since(start)
	}
	var direct, copied time.Duration
	for range b.N {
		direct += run(quickimport.HTTP(u))
		start := time.Now()
		local := filepath.Join(dir, "copy.qcow2")
		out, err := exec.Command(curl, "-sS", "-o", local, u).CombinedOutput()
		require.NoError(b, err, "%s", out)
		copied += time.Since(start) + run(quickimport.File(local))
	}
	b.SetBytes(sum.FileSize)
	b.ReportMetric(copied.Seconds()/direct.Seconds(), "x-of-curl-and-import")
	b.ReportMetric(float64(sum.FileSize>>20), "MiB-of-disk-with-curl")
}

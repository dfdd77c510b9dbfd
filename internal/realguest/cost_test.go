package realguest_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/internal/realguest"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/rawimage/guest"
)

// An examination reads the boot files of a large disk, a few tens of MiB, in few
// requests: over HTTP each of them is a round trip.
func TestExaminationIsCheap(t *testing.T) {
	realguest.Require(t)
	dir := t.TempDir()
	image := filepath.Join(dir, "disk.qcow2")
	qemutest.Img(t, dir, "convert", "-f", "raw", "-O", "qcow2", realguest.Disk(t, realguest.Short()[0]), image)
	qemutest.Img(t, dir, "resize", "-q", image, "100G")
	disk, err := anyimage.Open(image)
	require.NoError(t, err)
	defer func() { require.NoError(t, disk.Close()) }()
	r, err := guest.Examine(t.Context(), disk, disk.Size())
	require.NoError(t, err)
	require.True(t, r.Ready())
	t.Logf("%d requests, %d MiB, %s", r.Reads.Requests, r.Reads.Bytes/qemutest.MiB, r.Reads.Duration)
	require.Less(t, r.Reads.Bytes, 64*qemutest.MiB)
	require.Less(t, r.Reads.Requests, int64(200))
}

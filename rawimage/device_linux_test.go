package rawimage_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage"
)

// openLoop opens a loop device made of a file; nil where that is not to be had,
// which is logged: containers and ordinary users may not.
func openLoop(t *testing.T, name string) *rawimage.Image {
	t.Helper()
	out, err := exec.Command("losetup", "--find", "--show", "--read-only", name).CombinedOutput()
	if err != nil {
		t.Logf("no loop device here (%v: %s): only the refusal of other devices is tested", err, out)
		return nil
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		out, err := exec.Command("losetup", "--detach", device).CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
	im, err := rawimage.Open(device)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, im.Close()) }) // before it is detached
	return im
}

// A block device is read like the file it was made of.
func TestBlockDevice(t *testing.T) {
	_, err := rawimage.Open(os.DevNull)
	require.ErrorIs(t, err, rawimage.ErrNotImage)

	want := realDisk(t)
	im := openLoop(t, write(t, want))
	if im == nil {
		return
	}
	require.True(t, im.IsDevice())
	require.Equal(t, int64(len(want)), im.Size())
	got := make([]byte, len(want))
	n, err := im.ReadAt(got, 0)
	require.NoError(t, err)
	require.Equal(t, len(want), n)
	require.True(t, bytes.Equal(want, got))
	_, err = im.ReadAt(got[:1], im.Size())
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, []rawimage.Extent{{Offset: 0, Length: im.Size()}}, collect(t, im, 0, im.Size()))
	require.NoError(t, im.CheckUnchanged())
}

// A device that shrinks while it is in use is an error, by its size and by what
// is read.
func TestBlockDeviceChanges(t *testing.T) {
	name := write(t, realDisk(t))
	im := openLoop(t, name)
	if im == nil {
		return
	}
	require.NoError(t, os.Truncate(name, 32*mib))
	out, err := exec.Command("losetup", "--set-capacity", im.Name()).CombinedOutput()
	require.NoError(t, err, "%s", out)
	var ce *rawimage.ChangedError
	require.ErrorAs(t, im.CheckUnchanged(), &ce)
	require.Equal(t, int64(32*mib), ce.NewSize)
	_, err = im.ReadAt(make([]byte, 4096), 48*mib)
	require.ErrorAs(t, err, &ce)
}

func realDisk(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("../testdata/disk.raw")
	require.NoError(t, err)
	return data
}

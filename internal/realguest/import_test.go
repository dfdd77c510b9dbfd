package realguest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/qemutest"
	"github.com/fastimage/fastimage/internal/realguest"
	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
	"github.com/fastimage/fastimage/zvhd2"
)

// A guest that was imported boots: from an image in another format to an object in the
// bucket, and from that back to a disk.
func TestImportedGuestBoots(t *testing.T) {
	realguest.Require(t)
	good := realguest.Short()[0]
	disk := realguest.Disk(t, good)
	formats := []string{"qcow2"}
	if os.Getenv("FASTIMAGE_LONG") == "1" {
		formats = append(formats, "vmdk")
	}
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			image := filepath.Join(dir, "disk."+format)
			qemutest.Img(t, dir, "convert", "-f", "raw", "-O", format, disk, image)
			object := imported(t, image)
			decoded := filepath.Join(dir, "decoded.raw")
			decode(t, object, decoded)
			qemutest.Img(t, dir, "compare", "-f", "raw", "-F", "raw", disk, decoded)
			seen := realguest.Boot(t, decoded, good.StartedBy())
			require.True(t, seen.Boots, "%s", seen.Console)
			require.True(t, seen.Network, "%s", seen.Console)
		})
	}
}

// imported imports an image and returns the object that the cloud made its image of.
func imported(t *testing.T, image string) []byte {
	t.Helper()
	srv := imstest.NewServer(t)
	c, err := quickimport.New(srv.Options()...)
	require.NoError(t, err)
	res, err := c.Import(t.Context(), quickimport.File(image), quickimport.Image{
		Name: "guest", OSVersion: "Debian GNU/Linux 12 64bit", Bucket: srv.Bucket(),
	})
	require.NoError(t, err)
	require.NotEmpty(t, res.ImageID)
	object, err := srv.ReadObject(res.Bucket, res.Key)
	require.NoError(t, err)
	return object
}

// decode writes the disk in a container to a file.
func decode(t *testing.T, object []byte, name string) {
	t.Helper()
	r, err := zvhd2.NewReader(bytes.NewReader(object), int64(len(object)))
	require.NoError(t, err)
	f, err := os.Create(name)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(r.Size()))
	require.NoError(t, r.Decode(t.Context(), f))
	require.NoError(t, f.Close())
}

package quickimport_test

import (
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file of testdata, byte for byte.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

// The bodies of the API reference's examples, and one with every field.
func TestCreateImageBodies(t *testing.T) {
	system := systemDisk()
	system.Description, system.OSVersion = "Create an image using a file in the OBS bucket.", " CentOS 7.0 64bit"
	system.Tags = []string{"aaa.111", "bbb.333", "ccc.444"}
	data := dataDisk()
	data.ImageTags = []quickimport.Tag{{Key: "key2", Value: "value2"}, {Key: "key1", Value: "value1"}}
	every := quickimport.Image{
		Name: "像 1", Description: `"quoted" & 50 %`, OSVersion: "Windows Server 2019 Standard 64bit", Type: quickimport.TypeBMS,
		Bucket: "ims-image", Key: "folder/win.zvhd2", MinDisk: 1024, ImageTags: []quickimport.Tag{{Key: "k", Value: ""}},
		EnterpriseProjectID: "0", Architecture: quickimport.ArchX86, HWFirmwareType: quickimport.FirmwareUEFI, LicenseType: quickimport.LicenseBYOL,
	}
	for name, img := range map[string]quickimport.Image{"system-disk": system, "data-disk": data, "every-field": every} {
		for _, version := range []string{"v2", "v2.1"} {
			t.Run(name+"/"+version, func(t *testing.T) {
				c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					checkSignature(t, r, body)
					require.Equal(t, "/"+version+"/cloudimages/quickimport/action", r.URL.Path)
					require.Equal(t, "application/json", r.Header.Get("Content-Type"))
					golden(t, "create-"+name+".json", body)
					io.WriteString(w, `{"job_id":"8a12fc664fb4daa3014fb4e581380005"}`)
				}, quickimport.WithAPIVersion(version))
				id, err := c.CreateImage(t.Context(), img)
				require.NoError(t, err)
				require.Equal(t, "8a12fc664fb4daa3014fb4e581380005", id)
			})
		}
	}
}

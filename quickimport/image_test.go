package quickimport_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
)

func systemDisk() quickimport.Image {
	return quickimport.Image{Name: "ims_test_file", OSVersion: "CentOS 7.0 64bit", Bucket: "ims-image", Key: "centos70.zvhd2", MinDisk: 40}
}

func dataDisk() quickimport.Image {
	return quickimport.Image{Name: "data", Type: quickimport.TypeData, Bucket: "ims-image", Key: "d.zvhd2", MinDisk: 40}
}

func TestValidateTakesWhatIsAllowed(t *testing.T) {
	img := systemDisk()
	img.Name = strings.Repeat("中", 126) + "-a"
	img.Description = strings.Repeat("é", 1024)
	img.Tags = []string{strings.Repeat("k", 36) + "." + strings.Repeat("v", 43), "k."}
	img.EnterpriseProjectID, img.Architecture, img.HWFirmwareType = "0", "arm", "uefi"
	require.NoError(t, img.Validate())
	require.NoError(t, dataDisk().Validate())
}

func TestValidateReportsEveryProblemAtOnce(t *testing.T) {
	err := quickimport.Image{Name: "a/b", Type: "x", MinDisk: 2000}.Validate()
	var v *quickimport.ValidationError
	require.ErrorAs(t, err, &v)
	var fields []string
	for _, p := range v.Problems {
		fields = append(fields, p.Field)
	}
	require.Equal(t, []string{"name", "bucket", "key", "min_disk", "type", "os_version"}, fields)
}

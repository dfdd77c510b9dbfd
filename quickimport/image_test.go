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

// Every documented rule, broken alone, is found under the right field.
func TestValidateFindsEachBrokenRule(t *testing.T) {
	sys := func(f func(*quickimport.Image)) quickimport.Image { m := systemDisk(); f(&m); return m }
	data := func(f func(*quickimport.Image)) quickimport.Image { m := dataDisk(); f(&m); return m }
	type image = quickimport.Image
	tests := []struct {
		name, field string
		img         image
	}{
		{"name missing", "name", sys(func(m *image) { m.Name = "" })},
		{"name too long", "name", sys(func(m *image) { m.Name = strings.Repeat("中", 129) })},
		{"name with a slash", "name", sys(func(m *image) { m.Name = "a/b" })},
		{"name with a space before", "name", sys(func(m *image) { m.Name = " a" })},
		{"name with a space behind", "name", sys(func(m *image) { m.Name = "a " })},
		{"description too long", "description", sys(func(m *image) { m.Description = strings.Repeat("é", 1025) })},
		{"description with a line feed", "description", sys(func(m *image) { m.Description = "a\nb" })},
		{"description with a tag", "description", sys(func(m *image) { m.Description = "<b>" })},
		{"no os_version", "os_version", sys(func(m *image) { m.OSVersion = " " })},
		{"os_version for a data disk", "os_version", data(func(m *image) { m.OSVersion = "CentOS 7.0 64bit" })},
		{"os_type for a system disk", "os_type", sys(func(m *image) { m.OSType = "Linux" })},
		{"os_type unknown", "os_type", data(func(m *image) { m.OSType = "BSD" })},
		{"no bucket", "image_url", sys(func(m *image) { m.Bucket = "" })},
		{"no key", "image_url", sys(func(m *image) { m.Key = "" })},
		{"key with a space", "image_url", sys(func(m *image) { m.Key = "a b.zvhd2" })},
		{"key too long", "image_url", sys(func(m *image) { m.Key = strings.Repeat("k", 1025) })},
		{"min_disk 0", "min_disk", sys(func(m *image) { m.MinDisk = 0 })},
		{"min_disk 1025", "min_disk", sys(func(m *image) { m.MinDisk = 1025 })},
		{"type unknown", "type", sys(func(m *image) { m.Type = "ecs" })},
		{"tag without a dot", "tags", sys(func(m *image) { m.Tags = []string{"key"} })},
		{"tag key too long", "tags", sys(func(m *image) { m.Tags = []string{strings.Repeat("k", 37) + ".v"} })},
		{"tag value too long", "tags", sys(func(m *image) { m.Tags = []string{"k." + strings.Repeat("v", 44)} })},
		{"tag with other characters", "tags", sys(func(m *image) { m.Tags = []string{"k.v=1"} })},
		{"image tag without a key", "image_tags", sys(func(m *image) { m.ImageTags = []quickimport.Tag{{Value: "v"}} })},
		{"image tag value too long", "image_tags", sys(func(m *image) { m.ImageTags = []quickimport.Tag{{Key: "k", Value: strings.Repeat("v", 44)}} })},
		{"both kinds of tags", "image_tags", sys(func(m *image) {
			m.Tags, m.ImageTags = []string{"a.b"}, []quickimport.Tag{{Key: "k"}}
		})},
		{"enterprise project", "enterprise_project_id", sys(func(m *image) { m.EnterpriseProjectID = "default" })},
		{"architecture", "architecture", sys(func(m *image) { m.Architecture = "riscv" })},
		{"firmware", "hw_firmware_type", sys(func(m *image) { m.HWFirmwareType = "efi" })},
		{"arm with bios", "hw_firmware_type", sys(func(m *image) { m.Architecture, m.HWFirmwareType = "arm", "bios" })},
		{"license unknown", "license_type", sys(func(m *image) { m.OSVersion, m.LicenseType = "Windows Server 2019", "free" })},
		{"license for Linux", "license_type", sys(func(m *image) { m.LicenseType = "byol" })},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.img.Validate()
			var v *quickimport.ValidationError
			require.ErrorAs(t, err, &v)
			require.ErrorIs(t, err, quickimport.ErrValidation)
			require.Len(t, v.Problems, 1, "%v", v.Problems)
			require.Equal(t, tt.field, v.Problems[0].Field)
			require.NotEmpty(t, v.Problems[0].Rule)
		})
	}
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
	require.Equal(t, []string{"name", "image_url", "image_url", "min_disk", "type", "os_version"}, fields)
}

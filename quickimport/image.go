package quickimport

import (
	"path"
	"strings"
	"unicode"
)

// ImageType is what an image is for. Like the other enumerations of this
// package it is a string: values that a server sends and that are not listed
// here are kept as they are.
type ImageType string

// Types of images.
const (
	TypeECS  ImageType = "ECS"       // system disk of a cloud server; the default
	TypeBMS  ImageType = "BMS"       // system disk of a bare metal server
	TypeData ImageType = "DataImage" // data disk
)

// OSType is the kind of operating system that a data disk is for.
type OSType string

// Kinds of operating systems.
const (
	OSLinux   OSType = "Linux" // the default
	OSWindows OSType = "Windows"
)

// Architecture is that of a system disk's code.
type Architecture string

// Architectures.
const (
	ArchAuto Architecture = "auto" // the default: what the disk says
	ArchX86  Architecture = "x86"
	ArchARM  Architecture = "arm" // boots with UEFI only
)

// Firmware is what boots a system disk.
type Firmware string

// Firmware types.
const (
	FirmwareAuto Firmware = "auto" // the default: what the disk says
	FirmwareBIOS Firmware = "bios"
	FirmwareUEFI Firmware = "uefi"
)

// License says who brings the license of Windows.
type License string

// License types.
const (
	LicensePlatform License = "platform" // the cloud
	LicenseBYOL     License = "byol"     // the customer
)

// MaxImageSize is the largest file that fast image creation takes: 1 TB, 1024 GiB.
const MaxImageSize = 1 << 40

// Image is what is to be created. The rules are those of the API reference.
type Image struct {
	Name        string    // 1 to 128 characters: letters, digits, - . _ space, Chinese; no space at an end
	Description string    // up to 1024 characters, no line breaks, no < or >
	OSVersion   string    // system disks: e.g. "CentOS 7.0 64bit", which Import derives from the guest when empty; data disks: none
	OSType      OSType    // data disks: OSLinux (default) or OSWindows; system disks: none
	Type        ImageType // TypeECS (default), TypeBMS, TypeData
	Bucket      string    // required; Standard storage class, in the client's region
	Key         string    // object key without spaces; Import's default is Name with the format's extension
	MinDisk     int       // GB, 1 to 1024; Import computes it from the disk when 0

	Tags                []string     // "key.value"; either Tags or ImageTags
	ImageTags           []Tag        // the same in two parts
	EnterpriseProjectID string       // "", "0" or a UUID
	Architecture        Architecture // system disks: ArchX86, ArchARM, or "" for what the disk says
	HWFirmwareType      Firmware     // system disks: FirmwareBIOS, FirmwareUEFI, or "" for what the disk says; arm takes only uefi
	LicenseType         License      // Windows only: LicensePlatform or LicenseBYOL
}

// Tag is a tag of an image: Key up to 36 characters, Value up to 43.
type Tag struct {
	Key   string `json:"key"`   // 1 to 36 characters
	Value string `json:"value"` // 0 to 43 characters
}

// createBody is the request body, in the documents' order of fields.
type createBody struct {
	Name                string       `json:"name"`
	Description         string       `json:"description,omitempty"`
	ImageURL            string       `json:"image_url"`
	OSVersion           string       `json:"os_version,omitempty"`
	OSType              OSType       `json:"os_type,omitempty"`
	MinDisk             int          `json:"min_disk"`
	Type                ImageType    `json:"type"`
	Tags                []string     `json:"tags,omitempty"`
	ImageTags           []Tag        `json:"image_tags,omitempty"`
	EnterpriseProjectID string       `json:"enterprise_project_id,omitempty"`
	Architecture        Architecture `json:"architecture,omitempty"`
	HWFirmwareType      Firmware     `json:"hw_firmware_type,omitempty"`
	LicenseType         License      `json:"license_type,omitempty"`
}

func (m Image) body() createBody {
	return createBody{
		Name: m.Name, Description: m.Description, ImageURL: m.Bucket + ":" + m.Key,
		OSVersion: m.OSVersion, OSType: m.OSType, MinDisk: m.MinDisk, Type: m.Type, Tags: m.Tags,
		ImageTags: trimmedTags(m.ImageTags), EnterpriseProjectID: m.EnterpriseProjectID,
		Architecture: m.Architecture, HWFirmwareType: m.HWFirmwareType, LicenseType: m.LicenseType,
	}
}

// trimmedTags are tags as the service stores them.
func trimmedTags(tags []Tag) []Tag {
	var out []Tag
	for _, t := range tags {
		out = append(out, Tag{strings.TrimSpace(t.Key), strings.TrimSpace(t.Value)})
	}
	return out
}

// withDefaults fills in what has a documented default. os_version is trimmed:
// the documents' own example has a stray leading space.
func (m Image) withDefaults() Image {
	m.OSVersion = strings.TrimSpace(m.OSVersion)
	if m.Architecture == ArchAuto {
		m.Architecture = ""
	}
	if m.HWFirmwareType == FirmwareAuto {
		m.HWFirmwareType = ""
	}
	if m.Type == "" {
		m.Type = TypeECS
	}
	if m.Type == TypeData && m.OSType == "" {
		m.OSType = OSLinux // the editions disagree whether it is required, so it is always sent
	}
	return m
}

// defaultKey is the image's name with the format's extension; what keys must
// not hold (spaces: IMG.0175) becomes '-'.
func defaultKey(name string, f Format) string {
	key := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.IsControl(r) || r == '/' {
			return '-'
		}
		return r
	}, name)
	if f == FormatRaw {
		return key + ".raw"
	}
	return key + ".zvhd2"
}

// mfKey is the key of the bitmap file that belongs to a RAW object.
func mfKey(key string) string { return strings.TrimSuffix(key, path.Ext(key)) + ".mf" }

// defaultMinDisk is the disk's size in GB, and at least what newer editions of
// the service ask for: 10 for Linux, 20 for Windows.
func (m Image) defaultMinDisk(diskSize int64) int {
	n := int((min(diskSize, MaxImageSize) + 1<<30 - 1) >> 30)
	if m.windows() {
		return max(n, 20)
	}
	return max(n, 10)
}

func (m Image) windows() bool {
	return m.OSType == OSWindows || strings.Contains(strings.ToLower(m.OSVersion), "windows")
}

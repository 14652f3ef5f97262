// Copyright The packages-operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"
)

// spdxType is the media type of a bill of materials.
const spdxType = "application/spdx+json"

// spdxFile is the end of a bill's file name.
const spdxFile = ".spdx.json"

// The parts of SPDX 2.3 that a program made from Go modules needs.
type (
	spdxDocument struct {
		SPDXVersion       string             `json:"spdxVersion"`
		DataLicense       string             `json:"dataLicense"`
		SPDXID            string             `json:"SPDXID"`
		Name              string             `json:"name"`
		DocumentNamespace string             `json:"documentNamespace"`
		CreationInfo      spdxCreation       `json:"creationInfo"`
		Packages          []spdxPackage      `json:"packages"`
		Relationships     []spdxRelationship `json:"relationships"`
	}
	spdxCreation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		SPDXID           string         `json:"SPDXID"`
		Name             string         `json:"name"`
		VersionInfo      string         `json:"versionInfo"`
		PackageFileName  string         `json:"packageFileName,omitempty"`
		DownloadLocation string         `json:"downloadLocation"`
		FilesAnalyzed    bool           `json:"filesAnalyzed"`
		Checksums        []spdxChecksum `json:"checksums,omitempty"`
		LicenseConcluded string         `json:"licenseConcluded"`
		LicenseDeclared  string         `json:"licenseDeclared"`
		CopyrightText    string         `json:"copyrightText"`
		PrimaryPurpose   string         `json:"primaryPackagePurpose"`
		// Comment has the checksum by which Go knows the module.
		Comment      string            `json:"comment,omitempty"`
		ExternalRefs []spdxExternalRef `json:"externalRefs,omitempty"`
	}
	spdxChecksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	spdxExternalRef struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	spdxRelationship struct {
		Element string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		Related string `json:"relatedSpdxElement"`
	}
)

const (
	spdxNone     = "NOASSERTION"
	spdxProgram  = "SPDXRef-Program"
	spdxDocRef   = "SPDXRef-DOCUMENT"
	spdxLibrary  = "LIBRARY"
	dependsOn    = "DEPENDS_ON"
	goModulePURL = "pkg:golang/"
)

// billOf lists what a program was made from, as the Go toolchain recorded it in the
// program itself.
func billOf(p program, s source) ([]byte, error) {
	content, err := os.ReadFile(p.path)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.ReadFile(p.path)
	if err != nil {
		return nil, fmt.Errorf("reading what %s is made of: %w", p.file(), err)
	}
	sum := sha256.Sum256(content)
	digest := hex.EncodeToString(sum[:])
	bill := spdxDocument{
		SPDXVersion: "SPDX-2.3", DataLicense: "CC0-1.0", SPDXID: spdxDocRef, Name: p.file(),
		DocumentNamespace: "https://packages-operator.io/spdx/" + p.file() + "-" + digest,
		CreationInfo:      spdxCreation{Created: s.time.Format(time.RFC3339), Creators: []string{"Tool: packages-operator-hack-release"}},
		Packages: []spdxPackage{{
			SPDXID: spdxProgram, Name: p.name, VersionInfo: s.version, PackageFileName: p.file(), DownloadLocation: spdxNone,
			Checksums:        []spdxChecksum{{"SHA256", digest}},
			LicenseConcluded: spdxNone, LicenseDeclared: "Apache-2.0", CopyrightText: "Copyright The packages-operator Authors",
			PrimaryPurpose: "APPLICATION",
			ExternalRefs:   []spdxExternalRef{purl(info.Main.Path, s.version)},
		}},
		Relationships: []spdxRelationship{{spdxDocRef, "DESCRIBES", spdxProgram}},
	}
	add := func(path, version, sum, location string) {
		id := fmt.Sprintf("SPDXRef-Module-%d", len(bill.Packages))
		module := spdxPackage{
			SPDXID: id, Name: path, VersionInfo: version, DownloadLocation: location,
			LicenseConcluded: spdxNone, LicenseDeclared: spdxNone, CopyrightText: spdxNone, PrimaryPurpose: spdxLibrary,
			ExternalRefs: []spdxExternalRef{purl(path, version)},
		}
		if sum != "" {
			module.Comment = "go.sum: " + sum
		}
		bill.Packages = append(bill.Packages, module)
		bill.Relationships = append(bill.Relationships, spdxRelationship{spdxProgram, dependsOn, id})
	}
	add("stdlib", strings.TrimPrefix(strings.Fields(info.GoVersion)[0], "go"), "", "https://go.dev/dl/")
	for _, module := range info.Deps {
		module = effective(module)
		add(module.Path, module.Version, module.Sum, "https://proxy.golang.org/"+escape(module.Path)+"/@v/"+module.Version+".zip")
	}
	text, err := json.MarshalIndent(bill, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing what %s is made of: %w", p.file(), err)
	}
	return append(text, '\n'), nil
}

// effective is the module that is in the program.
func effective(module *debug.Module) *debug.Module {
	for module.Replace != nil {
		module = module.Replace
	}
	return module
}

func purl(path, version string) spdxExternalRef {
	return spdxExternalRef{"PACKAGE-MANAGER", "purl", goModulePURL + path + "@" + strings.ReplaceAll(version, "+", "%2B")}
}

// escape writes a module's path as the module proxy wants it: in lower case, with an
// exclamation mark before what was a capital.
func escape(path string) string {
	var out strings.Builder
	for _, c := range path {
		if 'A' <= c && c <= 'Z' {
			out.WriteByte('!')
			c += 'a' - 'A'
		}
		out.WriteRune(c)
	}
	return out.String()
}

# The licences of the project and of the programs that it names, by identifiers of spdx.org.
{ lib }:
lib.mapAttrs
  (
    shortName: license:
    {
      inherit shortName;
      free = true;
      redistributable = true;
      deprecated = false;
    }
    // lib.optionalAttrs (license ? spdxId) {
      url = "https://spdx.org/licenses/${license.spdxId}.html";
    }
    // license
  )
  {
    asl20 = {
      spdxId = "Apache-2.0";
      fullName = "Apache License 2.0";
    };
    bsd2 = {
      spdxId = "BSD-2-Clause";
      fullName = "BSD 2-clause";
    };
    bsl11 = {
      spdxId = "BUSL-1.1";
      fullName = "Business Source License 1.1";
      free = false;
      redistributable = true;
    };
    gpl3Plus = {
      spdxId = "GPL-3.0-or-later";
      fullName = "GNU General Public License v3.0 or later";
    };
    lgpl21Plus = {
      spdxId = "LGPL-2.1-or-later";
      fullName = "GNU Lesser General Public License v2.1 or later";
    };
    mit = {
      spdxId = "MIT";
      fullName = "MIT License";
    };
    mpl20 = {
      spdxId = "MPL-2.0";
      fullName = "Mozilla Public License 2.0";
    };
  }

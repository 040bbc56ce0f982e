/* SPDX-License-Identifier: MIT */
/* Error codes of HTTP/2 that weir sends or looks for. */
#ifndef WEIR_HTTP_H2_CODE_H
#define WEIR_HTTP_H2_CODE_H

/* RFC 9113 7 */
enum h2_code {
	H2_NO_ERROR = 0,
	H2_PROTOCOL_ERROR = 1,
	H2_INTERNAL_ERROR = 2,
	H2_REFUSED_STREAM = 7,
	H2_CANCEL = 8,
	H2_ENHANCE_YOUR_CALM = 11,
	H2_HTTP_1_1_REQUIRED = 13,
};

#endif

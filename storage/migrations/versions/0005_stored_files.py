"""files that wallets' agents have stored, and contributions by their content's reference

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stored_files",
        sa.Column("file_id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("blob_id", sa.String(), nullable=False),
        sa.Column("store", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("file_id"),
        sa.UniqueConstraint("owner", "blob_id", "name", name="uq_stored_files"),
    )
    op.create_index("ix_stored_files_owner", "stored_files", ["owner", "file_id"], unique=False)
    op.create_index("ix_contributions_blob", "contributions", ["blob_id"], unique=False, postgresql_using="hash")
    op.create_index("ix_contributions_data_url", "contributions", ["data_url"], unique=False, postgresql_using="hash")


def downgrade() -> None:
    op.drop_index("ix_contributions_data_url", table_name="contributions")
    op.drop_index("ix_contributions_blob", table_name="contributions")
    op.drop_table("stored_files")
